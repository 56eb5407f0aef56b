"""Kubernetes' spellings of sizes and durations, as numbers."""

import re
from decimal import Decimal

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
"""A resource quantity as users write it; a structural schema checks it with this."""
DURATION_PATTERN = r"^([0-9]+(ms|s|m|h))+$"

_FACTORS = {
    "": Decimal(1), "m": Decimal("0.001"),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12, "P": Decimal(10) ** 15,
    "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40, "Pi": Decimal(2) ** 50,
}  # fmt: skip
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def quantity(text: str) -> Decimal:
    """A quantity such as ``24Gi`` as a number (of bytes, of cores). Raises ValueError when it is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", text)
    if match is None or match[2] not in _FACTORS:
        message = f"{text[:32]!r} is not a quantity such as 24Gi or 500m"
        raise ValueError(message)
    return Decimal(match[1]) * _FACTORS[match[2]]


def seconds(text: str) -> float:
    """A duration such as ``10m`` or ``1h30m`` in seconds. Raises ValueError when it is none."""
    if re.fullmatch(DURATION_PATTERN, text) is None:
        message = f"{text[:32]!r} is not a duration such as 30s, 10m or 1h30m"
        raise ValueError(message)
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h)", text))
