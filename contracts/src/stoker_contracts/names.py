"""Names that several programs must spell alike: API group, labels, annotations, headers, variables, resource names."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from stoker_contracts.pipelines import FACTS, Pipeline

Pair = tuple[Pipeline, str]
"""A pipeline and a model id: which model is meant."""

GROUP = "stoker.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"
SINGULAR = "modeldeployment"
SHORT_NAME = "smd"

LABEL_MODEL_DEPLOYMENT = f"{GROUP}/model-deployment"
"""On worker pods and all that belongs to one ModelDeployment: its name."""
LABEL_RESOURCE_UID = f"{GROUP}/resource-uid"
"""On worker pods: the uid of their ModelDeployment, so that those of an earlier one of the same name can be told apart."""
LABEL_MODELS_CONFIG = f"{GROUP}/models-config"
"""On a ConfigMap: ``"true"`` makes it a models config. On a ModelDeployment: the name of the ConfigMap it comes from."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "stoker"

ANNOTATION_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
ANNOTATION_PEER_ADDRESS = f"{GROUP}/peer-address"
ANNOTATION_PEER_TOKEN = f"{GROUP}/peer-token"
"""On the Lease of a release's orchestrators: where the one that holds it is reached by the others, and what they show there."""

MODELS_CONFIG_KEY = "aiModels.json"
"""The key of a models config ConfigMap that holds the list."""
REPORT_KEY = "report.json"
REPORT_SUFFIX = "-report"

FIELD_MANAGER_OPERATOR = "stoker-operator"
FIELD_MANAGER_ORCHESTRATOR = "stoker-orchestrator"
FIELD_MANAGER_SCALING = "stoker-scaling"
"""The orchestrator again, for what it decides about workers; with a manager of its own one write does not take back the other."""
FIELD_MANAGER_ENDPOINTS = "stoker-endpoints"
"""The orchestrator again, for how external containers are."""

WORKER_CONTAINER = "worker"
WORKER_PORT = 8000
WORKER_PORT_NAME = "http"
ORCHESTRATOR_PORT = 8935
PEER_PORT = 8936
"""Where an orchestrator is reached by the others of its release."""
MODELS_MOUNT = "/models"
"""Where a worker pod finds its weights."""
COMPILED_MOUNT = "/compiled"
"""Where a worker pod keeps what it has compiled."""

HEADER_REQUEST_ID = "Stoker-Request-Id"
HEADER_MODEL = "Stoker-Model"
HEADER_WORKER = "Stoker-Worker"
HEADER_QUEUE_MS = "Stoker-Queue-Ms"
HEADER_COLD_START = "Stoker-Cold-Start"
HEADER_TIMEOUT = "Stoker-Timeout"
"""Seconds that a caller gives a job; the time in which a cold model starts is not counted."""
HEADER_OUTPUT_FORMAT = "Stoker-Output-Format"
HEADER_SEED = "Stoker-Seed"
"""The seed of a picture or a video that comes as the file itself."""
HEADER_NSFW = "Stoker-Nsfw"
"""``true`` with a picture that comes as the file itself, where the model's own checker has blackened it."""
HEADER_LOSSY = "Stoker-Lossy"
"""What, if anything, may have changed a picture: switches of the engine and lossy formats, as a comma list."""

MAX_MODEL_ID = 256
"""Longest id of a model."""
MAX_NAME = 52
"""Longest name of a resource that Stoker makes: room for the suffixes that Kubernetes adds to pods."""
_HASH_DIGITS = 8


def slug(model_id: str) -> str:
    """A model id as a DNS label part: lower case, runs of anything else as one dash; ``model`` where nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", model_id.lower()).strip("-") or "model"


def _digest(pipeline: Pipeline, model_id: str) -> str:
    return hashlib.sha256(f"{pipeline}\n{model_id}".encode()).hexdigest()[:_HASH_DIGITS]


def resource_name(pipeline: Pipeline, model_id: str, *, distinct: bool = False) -> str:
    """The name of the ModelDeployment for one model of a models config, at most ``MAX_NAME`` characters.

    It ends in a hash where it had to be cut, or where the caller knows of another model with the same slug (``distinct``).
    """
    name = f"{FACTS[pipeline].short}-{slug(model_id)}"
    if len(name) <= MAX_NAME and not distinct:
        return name
    return f"{name[: MAX_NAME - _HASH_DIGITS - 1].rstrip('-')}-{_digest(pipeline, model_id)}"


def resource_names(models: Iterable[Pair], held: Mapping[Pair, str]) -> dict[Pair, str]:
    """A name for each of these models, no two alike. Who has one (`held`) keeps it; others with one slug get a hash each."""
    short = {model: resource_name(*model) for model in models}
    wishes = Counter(short.values())
    return {model: held.get(model) or resource_name(*model, distinct=wishes[name] > 1) for model, name in short.items()}
