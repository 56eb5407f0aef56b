"""Where a worker pod keeps the code that it compiles: a folder of the pod, or one for each model on a claim.

A worker that compiles nothing gets neither. The worker itself tells versions of torch and Triton and kinds of cards apart, writes
each file whole or not at all, and goes on without the folder where it cannot be used.
"""

from typing import Any

from stoker_contracts import names
from stoker_operator.domain.wanted import Wanted

VOLUME = "compiled"

Json = dict[str, Any]


def compiled_volumes(asked: Wanted) -> list[Json]:
    """The pod's volume for compiled code, if it needs one."""
    if not asked.compiles:
        return []
    claim = asked.compile_claim
    if claim is None:
        return [{"name": VOLUME, "emptyDir": {"sizeLimit": asked.release.compile_cache.size_limit}}]
    return [{"name": VOLUME, "persistentVolumeClaim": {"claimName": claim.name}}]


def compiled_mounts(asked: Wanted) -> list[Json]:
    """How the worker's container sees it. Of a claim a worker sees its own model's folder alone, because such code is run."""
    if not asked.compiles:
        return []
    claim = asked.compile_claim
    return [{"name": VOLUME, "mountPath": names.COMPILED_MOUNT} | ({"subPath": _folder(asked, claim.path)} if claim else {})]


def _folder(asked: Wanted, path: str) -> str:
    """The model's folder: for every worker of the model the same, for every other model another one."""
    own = names.resource_name(asked.spec.pipeline, asked.spec.model_id, distinct=True)
    return "/".join(part for part in (path.strip("/"), own) if part)
