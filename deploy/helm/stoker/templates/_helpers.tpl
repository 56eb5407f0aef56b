{{/* The chart's part of a name. */}}
{{- define "stoker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* What the names of all objects begin with: at most 50 characters, so that every suffix fits into a label. */}}
{{- define "stoker.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "stoker.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a selector goes by. Takes (list . component). */}}
{{- define "stoker.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "stoker.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The labels of an object. Takes (list . component). */}}
{{- define "stoker.labels" -}}
{{- $root := index . 0 -}}
{{ include "stoker.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: stoker
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* An image reference. Takes (list . image). */}}
{{- define "stoker.image" -}}
{{- $root := index . 0 }}{{- $image := index . 1 }}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{/* Pod Security "restricted" for a pod. */}}
{{- define "stoker.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Pod Security "restricted" for a container, and a root that cannot be written. */}}
{{- define "stoker.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where a pod may run and how much it matters. Takes the component's values. */}}
{{- define "stoker.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* The release's worker defaults as the operator reads them: STOKER_WORKER. A value that is null means the empty one. */}}
{{- define "stoker.worker" -}}
{{- $worker := .Values.worker -}}
{{- $claim := default dict $worker.compileCache.claim -}}
{{- $resources := dict -}}
{{- range $name, $amount := $worker.resources }}
{{- $_ := set $resources $name (toJson $amount | trimAll "\"") -}}
{{- end }}
{{- dict
  "image" (include "stoker.image" (list . $worker.image))
  "imagePullPolicy" $worker.image.pullPolicy
  "allowedImagePrefixes" (default list $worker.allowedImagePrefixes)
  "engine" $worker.engine
  "gpu" (dict "count" (int64 $worker.gpu.count))
  "gpuResource" $worker.gpu.resource
  "resources" $resources
  "weights" (default nil $worker.weights)
  "compileCache" (dict
    "claim" (dict "name" (default "" $claim.name) "path" (default "" $claim.path))
    "sizeLimit" (toJson $worker.compileCache.sizeLimit | trimAll "\""))
  "env" (default dict $worker.env)
  "nodeSelector" (default dict $worker.nodeSelector)
  "tolerations" (default list $worker.tolerations)
  "imagePullSecrets" (default list $worker.imagePullSecrets)
  "priorityClassName" (default "" $worker.priorityClassName)
  "runtimeClassName" (default "" $worker.runtimeClassName)
| toJson }}
{{- end }}
