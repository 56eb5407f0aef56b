"""``stoker-bench compare`` as people and scripts call it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stoker_worker.bench.main import stoker_bench
from tests.support.bench import result


def call(*arguments: str) -> Result:
    return CliRunner().invoke(stoker_bench, ("compare", *arguments))


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """A result, the same again, and one that takes twice as long."""
    made = {"a": [0.1] * 30, "b": [0.1] * 30, "c": [0.2] * 30}
    for name, latencies in made.items():
        (tmp_path / f"{name}.json").write_text(result(latencies).model_dump_json())
    first, second, third = (str(tmp_path / f"{name}.json") for name in made)
    return first, second, third


def test_two_results_stand_side_by_side(files: tuple[str, str, str]) -> None:
    found = call(files[0], files[2])

    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "                  FIRST    SECOND  RATIO       95 %  VERDICT",
        "latency, mean    100 ms    200 ms   2.00  2.00–2.00  slower",
        "latency, p50     100 ms    200 ms   2.00  2.00–2.00  slower",
        "latency, p95     100 ms    200 ms   2.00  2.00–2.00  slower",
        "images/s           10.0      5.00   0.50  0.50–0.50  slower",
        "load             2.00 s    2.00 s   1.00             measured once",
        "memory, peak   1.00 GiB  1.00 GiB   1.00             measured once",
        "failed jobs        0.0%      0.0%                    within noise",
    ]


def test_a_script_learns_from_the_exit_code_whether_it_became_worse(files: tuple[str, str, str]) -> None:
    same, slower = (call(files[0], other, "--fail-above", "1.1") for other in files[1:])
    allowed, unheeded = (call(files[0], files[2], "--fail-above", *rest) for rest in (("2.5",), ("1.1", "--measure", "load")))

    assert [found.exit_code for found in (same, slower, allowed, unheeded)] == [0, 1, 0, 0]
    assert slower.stderr == "Worse than 1.1 times: mean, p50, p95, rate.\n"


def test_a_run_that_did_nothing_is_worse_than_any_and_may_still_be_looked_at(files: tuple[str, str, str], tmp_path: Path) -> None:
    (nothing := tmp_path / "nothing.json").write_text(result([]).model_dump_json())
    judged, shown = call(files[0], str(nothing), "--fail-above", "1.1"), call(files[0], str(nothing))

    assert (judged.exit_code, judged.stderr, shown.exit_code) == (1, "SECOND did no job.\n", 0)


def test_a_figure_that_was_measured_once_counts_where_it_is_asked_for_by_name(tmp_path: Path) -> None:
    for name, loaded in (("a", 1.0), ("b", 3.0)):
        (tmp_path / name).write_text(result([0.1] * 30, loaded=loaded).model_dump_json())
    files = str(tmp_path / "a"), str(tmp_path / "b")

    assert call(*files, "--fail-above", "2").exit_code == 0
    assert call(*files, "--fail-above", "2", "--measure", "load").exit_code == 1


def test_a_comparison_for_programs(files: tuple[str, str, str]) -> None:
    found = json.loads(call(files[0], files[2], "--json", "-").stdout)

    assert (found["version"], found["tool"], found["differences"]) == (1, "stoker-bench compare", [])
    assert found["measures"][0] == {
        "measure": "mean", "first": 100.0, "second": 200.0, "ratio": 2.0, "verdict": "slower", "low": 2.0, "high": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "a.json is no result of stoker-bench run --json."),
        ("[]", "a.json is no result of stoker-bench run --json."),
        ('{"tool": "stoker-bench", "version": 1}', "a.json is no result of stoker-bench run --json."),
        ('{"tool": "stoker-bench", "version": 9}', "a.json was written by another stoker-bench (document version 9, not 1)."),
    ],
)
def test_a_file_that_is_no_result_is_told(tmp_path: Path, content: str, words: str) -> None:
    (file := tmp_path / "a.json").write_text(content)
    found = call(str(file), str(file))

    assert (found.exit_code, found.stderr) == (2, f"Error: {words}\n")
