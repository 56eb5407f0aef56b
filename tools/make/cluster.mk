# Kubernetes on this machine: kind clusters without an image registry. NAME chooses the cluster.

CLUSTER = $(PYTHON) -m e2e.cluster
NAMED = $(if $(NAME),--name $(NAME))

.PHONY: cluster-up
cluster-up: $(STAMP) ## A kind cluster (NAME=...), made where it does not run.
	@$(CLUSTER) check
	@$(CLUSTER) up $(NAMED)

.PHONY: cluster-down
cluster-down: $(STAMP) ## Take the cluster (NAME=...) away; with ENGINE=1 every cluster and our own Docker.
	@$(CLUSTER) down $(NAMED) $(if $(ENGINE),--engine)

.PHONY: cluster-status
cluster-status: $(STAMP) ## Show the cluster (NAME=...), its ports and pods.
	@$(CLUSTER) status $(NAMED)

.PHONY: cluster-logs
cluster-logs: $(STAMP) ## Write logs, events and state of the cluster (NAME=...) into a folder.
	@$(CLUSTER) logs $(NAMED)

.PHONY: binaries
binaries: $(STAMP) ## Kubernetes' programs and the tools of clusters, built from Go modules where the cache lacks them.
	@$(PYTHON) -m e2e.cluster.binaries
