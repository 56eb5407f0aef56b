"""Whether an object in the cluster still is what was intended.

Every applied object carries a digest of its intent, so that a field that is no longer intended is noticed too. What others
have added (annotations, sidecars, defaults of the API server) does not count as a difference.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from stoker_contracts.names import GROUP
from stoker_contracts.quantities import quantity

ANNOTATION_INTENT = f"{GROUP}/intent"
_LIST_KEYS = ("mountPath", "uid", "name", "type")
"""Members by which Kubernetes tells the items of a list apart; the first that all intended items have is used."""
_OF_QUANTITIES = frozenset({"limits", "requests", "sizeLimit"})


def stamped(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the digest of itself as an annotation."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = dict(metadata.get("annotations") or {}) | {ANNOTATION_INTENT: digest}
    return manifest | {"metadata": metadata | {"annotations": annotations}}


def fulfilled(intended: Any, actual: Any, *, sizes: bool = False) -> bool:
    """Whether everything intended stands in `actual`. `sizes` tells that strings here are quantities."""
    if isinstance(intended, Mapping):
        return isinstance(actual, Mapping) and all(
            fulfilled(value, actual.get(key), sizes=sizes or key in _OF_QUANTITIES) for key, value in intended.items()
        )
    if isinstance(intended, list):
        return _list_fulfilled(intended, actual, sizes=sizes)
    if intended == "":
        return actual in ("", None)
    return bool(intended == actual) or (sizes and _same_size(intended, actual))


def _list_fulfilled(intended: list[Any], actual: Any, *, sizes: bool) -> bool:
    if not isinstance(actual, list):
        return not intended and actual is None
    key = next(
        (key for key in _LIST_KEYS if intended and all(isinstance(item, Mapping) and key in item for item in intended)), None
    )
    if key is None:
        pairs = zip(intended, actual, strict=False)
        return len(intended) == len(actual) and all(fulfilled(wanted, found, sizes=sizes) for wanted, found in pairs)
    found = {item.get(key): item for item in actual if isinstance(item, Mapping)}
    return all(fulfilled(item, found.get(item[key]), sizes=sizes) for item in intended)


def _same_size(intended: Any, actual: Any) -> bool:
    try:
        return quantity(str(intended)) == quantity(str(actual))
    except ValueError:
        return False
