"""What a worker needs of a node, as the labels of NVIDIA's GPU feature discovery tell it."""

import math
from typing import Any

from stoker_contracts.quantities import quantity
from stoker_contracts.resources.model_deployment import DeviceRequirements
from stoker_operator.domain.wanted import Wanted

_MEMORY, _PRODUCT = "nvidia.com/gpu.memory", "nvidia.com/gpu.product"
_MAJOR, _MINOR = "nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"
_MIB = 2**20

Expression = dict[str, Any]


def placement(asked: Wanted) -> dict[str, Any]:
    """The members of a pod spec that choose its node."""
    release, pod = asked.release, asked.spec.pod
    selector = release.node_selector | (pod.node_selector if pod else {})
    tolerations = [each.wire() for each in [*release.tolerations, *(pod.tolerations if pod else [])]]
    distinct = [each for index, each in enumerate(tolerations) if each not in tolerations[:index]]
    require = asked.gpu.require if asked.gpu.count else None
    affinity = _affinity(require) if require else None
    return {
        **({"nodeSelector": selector} if selector else {}),
        **({"tolerations": distinct} if distinct else {}),
        **({"affinity": affinity} if affinity else {}),
    }


def _affinity(require: DeviceRequirements) -> dict[str, Any] | None:
    common = [*_memory(require), *_products(require)]
    terms = [[*common, *expressions] for expressions in _capabilities(require)]
    if not any(terms):
        return None
    wanted = {"nodeSelectorTerms": [{"matchExpressions": expressions} for expressions in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wanted}}


def _memory(require: DeviceRequirements) -> list[Expression]:
    if require.min_device_memory is None:
        return []
    mebibytes = math.ceil(quantity(require.min_device_memory) / _MIB)
    return [_above(_MEMORY, mebibytes - 1)]


def _products(require: DeviceRequirements) -> list[Expression]:
    if not require.products:
        return []
    # A label value holds no spaces; feature discovery writes dashes in their place.
    return [{"key": _PRODUCT, "operator": "In", "values": [product.replace(" ", "-") for product in require.products]}]


def _capabilities(require: DeviceRequirements) -> list[list[Expression]]:
    """One list of expressions for each way to be capable enough: a higher major version, or the same with a minor as high."""
    if require.compute_capability is None:
        return [[]]
    major, _, minor = require.compute_capability.removeprefix(">=").partition(".")
    if int(minor or 0) == 0:
        return [[_above(_MAJOR, int(major) - 1)]]
    same = {"key": _MAJOR, "operator": "In", "values": [str(int(major))]}
    return [[_above(_MAJOR, int(major))], [same, _above(_MINOR, int(minor) - 1)]]


def _above(label: str, number: int) -> Expression:
    return {"key": label, "operator": "Gt", "values": [str(number)]}
