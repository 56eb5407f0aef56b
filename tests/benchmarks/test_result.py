import json

import pytest

from benchmarks.result import compare, print_result, quantile, rounded


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([1.0], 0.99, 1.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0), ([float(n) for n in range(1, 101)], 0.99, 99.0), ([1.0, 2.0], 1.0, 2.0)],
)
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (0.012345, 0.0123), (12345.0, 12300.0), (-0.5559, -0.556)])
def test_a_figure_keeps_its_leading_digits(value: float, expected: float) -> None:
    assert rounded(value) == expected


def test_a_missed_target_is_told_and_the_last_line_is_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    compare({"ratio": 0.1, "rss_mb": 90.0, "other": None}, {"ratio": 0.13, "other": 1}, {"rss_mb": 200})
    print_result({"ratio": 0.1})
    told = capsys.readouterr()

    missed = [line.split()[0] for line in told.err.splitlines() if line.endswith("MISSED")]
    assert missed == ["ratio", "other"]
    assert json.loads(told.out.splitlines()[-1]) == {"ratio": 0.1}
