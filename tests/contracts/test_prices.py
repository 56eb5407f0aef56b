"""What an entry of a models config costs."""

from decimal import Decimal

import pytest

from stoker_contracts.models_config import EntryReason, parse
from stoker_contracts.prices import EntryPrice, unit_price


def test_a_price_is_divided_exactly_and_written_without_an_exponent() -> None:
    config = parse(
        '[{"pipeline":"text-to-image","model_id":"m","price_per_unit":1.9073484e-2,"pixels_per_unit":1000000,"currency":"USD"}]'
    )

    (model,) = config.models
    assert model.price is not None
    assert (model.price.per_unit, model.price.currency) == ("0.000000019073484", "USD")


@pytest.mark.parametrize(
    "price",
    [
        '"price_per_unit": 1e999999',
        '"price_per_unit": 1e9999999',
        '"price_per_unit": 1e-999',
        f'"price_per_unit": 1e{9**40}',
        '"price_per_unit": 1, "pixels_per_unit": 1e-9999999',
        '"price_per_unit": 1, "pixels_per_unit": 1e999',
    ],
)
def test_a_price_beyond_all_bounds_is_refused_and_its_neighbours_live(price: str) -> None:
    config = parse(f'[{{"pipeline": "text-to-image", "model_id": "m", {price}}}, {{"pipeline": "text-to-image", "model_id": "n"}}]')

    assert [(each.index, each.reason) for each in config.refusals] == [(0, EntryReason.PRICE_INVALID)]
    assert [model.indices for model in config.models] == [(1,)]


def test_a_price_of_minus_nothing_is_nothing() -> None:
    assert unit_price({"price_per_unit": Decimal("-0.0")}) == EntryPrice("0", "wei")
