from decimal import Decimal

import pytest

from stoker_contracts.errors import ErrorType, error_body, validation_body
from stoker_contracts.quantities import quantity, seconds
from stoker_contracts.resources.conditions import Condition, ConditionType, Reason, Verdict, condition

READY = Verdict("True", Reason.SERVING, "1 of 1 workers is ready")


@pytest.mark.parametrize(("text", "number"), [("24Gi", 24 * 2**30), ("500m", Decimal("0.5")), ("1.5G", 1_500_000_000), ("7", 7)])
def test_a_quantity_is_a_number(text: str, number: Decimal) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "24 Gi", "-1Gi", "Gi", "1Zi"])
def test_what_is_no_quantity_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity such as 24Gi"):
        quantity(text)


@pytest.mark.parametrize(("text", "number"), [("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("5s", 5)])
def test_a_duration_is_seconds(text: str, number: float) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["", "10", "soon", "-5s", "5d"])
def test_what_is_no_duration_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration such as 30s"):
        seconds(text)


def test_an_error_body_speaks_to_both_worlds() -> None:
    assert error_body("no such model", ErrorType.MODEL_NOT_FOUND) == {
        "detail": {"msg": "no such model"},
        "error": {"message": "no such model", "type": "model_not_found", "code": "model_not_found"},
    }


def test_a_validation_body_keeps_the_list_of_problems() -> None:
    problems = [{"loc": ["body", "width"], "msg": "too small", "type": "greater_than_equal"}]

    assert validation_body(problems, "width: too small")["detail"] == problems


def test_a_condition_carries_its_verdict() -> None:
    made = condition(ConditionType.READY, READY, generation=3, now=0)

    assert made["lastTransitionTime"] == "1970-01-01T00:00:00Z"
    assert READY.holds
    assert Condition.model_validate(made).reason == "Serving"


def test_the_transition_time_moves_only_with_the_status() -> None:
    first = condition(ConditionType.READY, READY, generation=1, now=0)
    reworded = Verdict("True", Reason.STARTABLE, "cold")
    failed = Verdict("False", Reason.LOAD_FAILED, "no weights")

    same = condition(ConditionType.READY, reworded, generation=2, now=60, previous=[first])
    other = condition(ConditionType.READY, failed, generation=2, now=60, previous=[first])

    assert same["lastTransitionTime"] == first["lastTransitionTime"]
    assert other["lastTransitionTime"] == "1970-01-01T00:01:00Z"
