"""What people see."""

import io

import pytest
from rich.console import Console

from stoker_contracts.pipelines import Pipeline
from stoker_worker.bench.document import Held, Memory, Result, Stage, WarmUp
from stoker_worker.bench.plan import Load
from stoker_worker.bench.progress import EVERY_SECONDS, Bar, Lines, view
from stoker_worker.bench.report import remarks, report
from stoker_worker.bench.samples import Failure, Reply, Sample
from stoker_worker.bench.summary import figures
from stoker_worker.bench.tables import milliseconds, number, size, some
from tests.support.bench import SMALL, result


def printed(found: Result) -> str:
    console = Console(file=(file := io.StringIO()), width=120, markup=False)
    console.print(report(found))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_a_result_is_a_page_with_load_memory_jobs_rate_and_latency() -> None:
    found = result([0.1] * 99 + [0.5]).model_copy(update={"warmup": WarmUp(milliseconds=(812.5,))})

    assert printed(found) == (
        "org/model  text-to-image  in this process\n"
        "a card\n"
        "\n"
        "load     2.00 s  (weights 2.00 s)\n"
        "memory   512 MiB allocated, 512 MiB reserved after the load; 1.00 GiB and 1.00 GiB at most\n"
        "warm-up  1 job, the first took 812 ms\n"
        "jobs     100 done, 0 failed in 10.4 s; 1 at a time\n"
        "rate     9.62 images/s, 9.62 jobs/s\n"
        "\n"
        "           MEAN     P50     P95     P99     MIN     MAX\n"
        "latency  104 ms  100 ms  100 ms  100 ms  100 ms  500 ms"
    )


def test_failures_stand_below_with_the_words_of_the_first() -> None:
    page = printed(result([0.1], failed=3)).splitlines()

    assert page[-2:] == ["FAILED    JOBS  THE FIRST ONE SAID", "HTTP 500     3  no"]
    assert "jobs    1 done, 3 failed in 0.100 s; 1 at a time" in page


def test_an_open_loop_tells_how_late_jobs_were_sent_and_warns_of_a_slow_host() -> None:
    late = [Sample("job", due=each, sent=each + 0.02, ended=each + 0.1, reply=Reply(1)) for each in range(5)]
    base = result([0.1], load=Load(runs=5, rate=1))
    found = base.model_copy(update={"figures": figures(late, open_loop=True)})

    assert "sent late  20.0 ms on average, 20.0 ms at most" in printed(found)
    assert "1.00 due each second (poisson)" in printed(found)
    assert remarks(found) == [
        "This host sent jobs late (95th percentile 20.0 ms): it is too slow for the rate; latencies include that."
    ]


def test_a_stop_cold_starts_and_a_run_without_a_result_are_remarked() -> None:
    nothing = figures([Sample("job", 0, 0, 1, Reply(failure=Failure("timeout"), cold=True))], abandoned=2)
    found = result([]).model_copy(update={"figures": nothing, "interrupted": True})

    assert remarks(found) == [
        "Stopped before the end; 2 jobs under way then and in no figure.",
        "No job was done, so there is no latency.",
        "1 job waited for a cold start.",
    ]


def test_stages_of_which_only_the_mean_is_known_have_no_percentiles() -> None:
    base = result([0.1])
    stages = {"queue": Stage(count=1, mean=7), "inference": Stage(count=4, mean=42)}
    found = base.model_copy(update={"figures": base.figures.model_copy(update={"stages": stages, "rows_per_batch": 3.25})})
    lines = printed(found).splitlines()

    assert [line.split() for line in lines[-2:]] == [["queue", "7.00", "ms"], ["inference", "42.0", "ms", "×", "4"]]
    assert "batches  3.25 rows on average" in lines


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ("process", "512 MiB after the load, 1.00 GiB at most (resident memory of this process)"),
        ("device", "512 MiB before, 1.00 GiB after (taken on the worker's card by all its users)"),
    ],
)
def test_memory_says_what_was_asked(memory: str, words: str) -> None:
    held, peak = Held(allocated=2**29, reserved=2**29), Held(allocated=2**30, reserved=2**30)
    found = result([0.1]).model_copy(update={"memory": Memory.model_validate({"of": memory, "loaded": held, "peak": peak})})

    assert words in printed(found)


def test_a_video_counts_frames_and_switches_say_whether_pictures_change() -> None:
    base = result([0.1])
    changed = {"pipeline": Pipeline.IMAGE_TO_VIDEO, "switches": ("bfloat16", "compile"), "lossy": ("bfloat16",)}
    page = printed(base.model_copy(update={"target": base.target.model_copy(update=changed)}))

    assert "frames/s" in page
    assert "switches: bfloat16 (may change pictures), compile" in page


def test_kinds_of_a_mix_stand_below_the_latency_of_all() -> None:
    two = figures([Sample(name, 0, 0, 1, Reply(1)) for name in ("draft", "final")])
    lines = printed(result([], mix=[{"name": "draft"}, {"name": "final"}]).model_copy(update={"figures": two})).splitlines()

    assert [line.split()[0] for line in lines[-3:]] == ["latency", "draft", "final"]


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 ms"), (0.0123, "0.012 ms"), (0.51234, "0.512 ms"), (5.123, "5.12 ms"),
     (51.23, "51.2 ms"), (512.3, "512 ms"), (5123, "5.12 s")],
)  # fmt: skip
def test_times_have_the_digits_that_count(value: float, words: str) -> None:
    assert milliseconds(value) == words


def test_counts_and_sizes_are_said_as_people_say_them() -> None:
    assert (some(1, "job"), some(2, "job"), size(3 * 2**20), size(3 * 2**30)) == ("1 job", "2 jobs", "3 MiB", "3.00 GiB")
    assert number(1234.5) == "1234"


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=80, _environ={}), file


def test_without_a_terminal_there_are_plain_lines_from_time_to_time() -> None:
    now = [0.0]
    where, file = console(terminal=False)
    lines = Lines(where, lambda: now[0])
    lines.say("measuring")
    lines.begin(4)
    for failed in (False, True, False):
        now[0] += EVERY_SECONDS / 2
        lines.count(failed=failed)
    lines.end()

    assert file.getvalue() == "measuring\n2 of 4 jobs, 1 failed\n"


def test_on_a_terminal_a_bar_counts_jobs_and_goes_away() -> None:
    where, file = console(terminal=True)
    bar = view(where)
    assert isinstance(bar, Bar)
    bar.say("measuring")
    bar.begin(2)
    bar.count(failed=True)
    bar._bar.refresh()
    bar.end()

    assert "1 jobs" in file.getvalue()
    assert "1 failed" in file.getvalue()
    assert isinstance(view(console(terminal=False)[0]), Lines)


def test_settings_say_what_was_asked_for() -> None:
    found = result([0.1], load=Load(duration=60, rate=2, arrivals="uniform"), batch_size=2).settings

    assert (found.loop, found.runs, found.duration, found.rate, found.arrivals) == ("open", None, 60, 2, "uniform")
    assert found.batch_size == 2
    assert {name: found.jobs[0].fields[name] for name in SMALL} == SMALL
