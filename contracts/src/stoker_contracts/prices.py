"""What an entry of a models config costs, read exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from stoker_contracts.resources.model_deployment import MAX_CURRENCY, MAX_PRICE


@dataclass(frozen=True, slots=True)
class EntryPrice:
    """What a unit (a pixel, in a models config) costs: a decimal string and a currency."""

    per_unit: str
    currency: str


def decimal_of(digits: str) -> Decimal:
    """A number of JSON, exactly; not a number where its exponent is beyond all bounds."""
    try:
        return Decimal(digits)
    except ArithmeticError:
        return Decimal("nan")


def unit_price(entry: Mapping[str, Any]) -> EntryPrice | None:
    """The price that an entry names. Raises ValueError, in words for its author."""
    if "price_per_unit" not in entry:
        return None
    price, units = _number(entry, "price_per_unit"), _number(entry, "pixels_per_unit", default=Decimal(1))
    if not units:
        message = "pixels_per_unit must be greater than 0"
        raise ValueError(message)
    currency = entry.get("currency", "") or "wei"
    if not isinstance(currency, str) or len(currency) > MAX_CURRENCY or not currency.isprintable():
        message = f"currency must be a name such as USD, of at most {MAX_CURRENCY} characters"
        raise ValueError(message)
    return EntryPrice(_quotient(price, units), currency)


def _number(entry: Mapping[str, Any], key: str, default: Decimal | None = None) -> Decimal:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        message = f"{key} must be a bare number without quotes; name the currency in currency"
        raise ValueError(message)
    if value < 0:
        message = f"{key} must not be negative"
        raise ValueError(message)
    return Decimal(value).copy_abs()


def _quotient(price: Decimal, units: Decimal) -> str:
    try:
        per_unit = f"{(price / units).normalize():f}"
    except ArithmeticError:
        per_unit = ""
    if not 0 < len(per_unit) <= MAX_PRICE:
        message = f"price_per_unit divided by pixels_per_unit must be a number that takes at most {MAX_PRICE} characters"
        raise ValueError(message)
    return per_unit
