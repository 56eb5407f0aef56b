"""How documents look, and when they are shown again."""

import contextlib
import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from stoker_cli.client import AwayError
from stoker_cli.status import follow
from stoker_cli.tables import duration, tables, three_digits
from stoker_cli.views import JsonView, LiveView, TextView, View
from stoker_contracts.overview import (
    LineOverview,
    ModelOverview,
    ModelState,
    OrchestratorOverview,
    Overview,
    WorkerOverview,
    WorkerState,
)
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.resources.scaling import ScalingDecision, ScalingReason

IDLE = LineOverview(waiting=0, callers=0, work_seconds=None, oldest_seconds=0, estimated_wait_ms=0)
ORCHESTRATOR = OrchestratorOverview(name="stoker-orchestrator", version="1.2.3", leading=True, synced=True, blind_seconds=None)
NO_CARD = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. No preemption victims found for the incoming pod."


def shown_model(name: str, state: ModelState = ModelState.COLD, **others: object) -> ModelOverview:
    plain = {
        "name": name, "pipeline": Pipeline.TEXT_TO_IMAGE, "model_id": f"org/{name}", "warm": False, "replicas": 0, "decisions": (),
        "min_replicas": 0, "max_replicas": 1, "state": state, "reason": "", "message": "", "workers": (),
        "waits_for": (), "line": IDLE,
    }  # fmt: skip
    return ModelOverview.model_validate(plain | others)


def shown_worker(identity: str, state: WorkerState = WorkerState.READY, **others: object) -> WorkerOverview:
    plain = {
        "id": identity,
        "node": "",
        "device": "",
        "state": state,
        "message": "",
        "in_flight": 0,
        "capacity": 1,
        "work_seconds": None,
    }
    return WorkerOverview.model_validate(plain | {"ms_per_unit": None} | others)


def overview(*models: ModelOverview) -> Overview:
    return Overview(orchestrator=ORCHESTRATOR, models=models)


def decided(second: int, reason: ScalingReason, message: str) -> ScalingDecision:
    """A decision for one more worker at noon of this host's day."""
    before = int(reason is not ScalingReason.WAKE)
    noon = datetime.fromisoformat("2026-01-02T12:00:00").astimezone() + timedelta(seconds=second)
    return ScalingDecision(time=noon, before=before, after=before + 1, reason=reason, message=message)


BUSY = shown_model(
    "t2i-sdxl-turbo",
    ModelState.SERVING,
    workers=(
        shown_worker(
            "t2i-sdxl-turbo-5d9c7b8f4d-x2x9z.0", node="gpu-1", in_flight=2, capacity=2, work_seconds=7.6, ms_per_unit=49.84
        ),
        shown_worker("t2i-sdxl-turbo-5d9c7b8f4d-9kk2p.0", WorkerState.STARTING, node="gpu-2", capacity=2),
    ),
    decisions=(
        decided(0, ScalingReason.WAKE, "a job came and no worker runs"),
        decided(7, ScalingReason.QUEUE, "30 s of work in line, the target is 10 s"),
    ),
    line=LineOverview(waiting=5, callers=2, work_seconds=29.9, oldest_seconds=3.4, estimated_wait_ms=12_345),
)
EVERYTHING = overview(
    BUSY,
    shown_model("i2v-stabilityai-stable-video-diffusion-img2vid-xt", pipeline=Pipeline.IMAGE_TO_VIDEO),
    shown_model("i2i-other", ModelState.UNAVAILABLE, reason="Unschedulable", message=NO_CARD),
)
ON_80_COLUMNS = """\
stoker-orchestrator 1.2.3

MODEL                     PIPELINE        STATE        WORKERS  JOBS  LINE  WAIT
t2i-sdxl-turbo            text-to-image   serving          1/2   2/2     5  12 s
i2v-stabilityai-stable-v  image-to-video  cold             0/0   0/0     0   0 s
ideo-diffusion-img2vid-x
t
i2i-other                 text-to-image   unavailable      0/0   0/0     0

OF         WHY
i2i-other  Unschedulable: 0/3 nodes are available: 3 Insufficient
           nvidia.com/gpu. No preemption victims found for the incoming pod.

LINE OF         JOBS  CALLERS  WORK  OLDEST
t2i-sdxl-turbo     5        2  30 s     3 s

WORKER                             NODE   STATE     JOBS  WORK  MS/UNIT
t2i-sdxl-turbo-5d9c7b8f4d-x2x9z.0  gpu-1  ready      2/2   8 s     49.8
t2i-sdxl-turbo-5d9c7b8f4d-9kk2p.0  gpu-2  starting   0/2

DECIDED   MODEL           WORKERS  WHY
12:00:07  t2i-sdxl-turbo  1 → 2    Queue: 30 s of work in line, the target is 10
                                   s
12:00:00  t2i-sdxl-turbo  0 → 1    Wake: a job came and no worker runs
"""


@pytest.mark.parametrize(("measured", "shown"), [(49.84, "49.8"), (0.1234, "0.123"), (999.6, "1,000"), (2263.4, "2,263")])
def test_figures_are_shown_as_people_write_them(measured: float, shown: str) -> None:
    assert three_digits(measured) == shown


class CtrlCError(Exception):
    """In the place of Ctrl-C."""


def drawn(document: Overview, note: str = "") -> str:
    """The tables as on a terminal of 80 columns without colours."""
    console = Console(file=(printed := io.StringIO()), width=80)
    console.print(tables(document, note))
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())


def followed(view: View, *looks: Overview | AwayError) -> None:
    """Follow an orchestrator that says these things one after the other."""
    left = list(looks)

    def look() -> Overview:
        found = left.pop(0)
        if isinstance(found, AwayError):
            raise found
        return found

    def pause() -> None:
        if not left:
            raise CtrlCError

    with contextlib.closing(view), pytest.raises(CtrlCError):
        follow(look, view, pause)


def waiting(seconds: float) -> Overview:
    """A document in which nothing but time passes."""
    line = IDLE.model_copy(update={"waiting": 1, "oldest_seconds": seconds, "estimated_wait_ms": int(seconds * 1000)})
    orchestrator = ORCHESTRATOR.model_copy(update={"blind_seconds": seconds})
    return Overview(orchestrator=orchestrator, models=(shown_model("a", line=line),))


A, B = overview(shown_model("a")), overview(shown_model("b"))


def test_workers_that_say_what_they_run_on_are_shown_with_it() -> None:
    cards = shown_worker("w-1", device="2 × NVIDIA L4"), shown_worker("w-2", WorkerState.STARTING)
    printed = drawn(overview(shown_model("m", ModelState.SERVING, workers=cards)))

    assert (
        """\
WORKER  DEVICE         STATE     JOBS  WORK  MS/UNIT
w-1     2 × NVIDIA L4  ready      0/1
w-2                    starting   0/1
"""
        in printed
    )


def test_everything_can_be_read_on_80_columns() -> None:
    assert drawn(EVERYTHING) == ON_80_COLUMNS


def test_a_worker_that_takes_no_jobs_says_why_once() -> None:
    down = shown_worker("ext/0", WorkerState.DRAINING, message="it answers 401")
    alone = shown_model("m", ModelState.STARTING, message="no card", workers=(shown_worker("m-1", message="no card"), down))

    assert "ext/0  it answers 401" in drawn(overview(alone))
    assert "m-1    no card" not in drawn(overview(alone))


def test_what_a_cluster_says_is_shown_to_the_letter() -> None:
    said = "[red]no[/red] room in [/tmp] :warning:"
    worker = shown_worker("w[0]", WorkerState.DRAINING, node="n[1]", message=said)
    shown = drawn(overview(shown_model("m", model_id="org/m[v2]", message="[/m]", workers=(worker,))))

    for words in (said, "w[0]", "n[1]", "org/m[v2]", "[/m]"):
        assert words in shown


def test_a_terminal_is_not_told_what_to_do_by_a_worker() -> None:
    worker = shown_worker("w", WorkerState.DRAINING, message="gone\x1b[2J\nand away")
    shown = drawn(overview(shown_model("m", message="\x1b]0;owned\x07", workers=(worker,))))

    assert "gone�[2J and away" in shown
    assert {char for char in shown if not char.isprintable()} == {"\n"}


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"replicas": 2, "min_replicas": 1, "max_replicas": 3, "warm": True}, "org/m     yes        2          1 to 3"),
        ({"replicas": 4, "min_replicas": None, "max_replicas": None}, "org/m     no         4          somebody else decides"),
    ],
)
def test_one_model_alone_says_how_many_workers_are_asked_for_and_by_whom(change: dict[str, Any], row: str) -> None:
    assert row in drawn(overview(shown_model("m", **change)))
    assert row not in drawn(overview(shown_model("m", **change), shown_model("n")))


def test_without_models_it_says_where_they_come_from() -> None:
    assert "No models. List some in the models config" in drawn(overview())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"leading": False}, "follows another one, which decides how many workers run"),
        ({"synced": False}, "has not seen all models and workers yet"),
        ({"blind_seconds": 240.0}, "has not seen its workers for 4 min: jobs go on, nothing is scaled"),
    ],
)
def test_an_orchestrator_that_does_not_see_everything_says_so(change: dict[str, object], words: str) -> None:
    assert words in " ".join(drawn(Overview(orchestrator=ORCHESTRATOR.model_copy(update=change), models=())).split())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.04, "0 s"), (0.42, "0.4 s"), (0.99, "1 s"), (1.4, "1 s"), (99.4, "99 s"), (240, "4 min"), (7200, "2 h")],
)
def test_a_duration_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_text_has_a_block_for_each_change_and_none_where_only_time_passed(capsys: pytest.CaptureFixture[str]) -> None:
    followed(TextView(Console(), watch=True), A, A, B, waiting(1), waiting(2))

    blocks = capsys.readouterr().out.split("\n\n20")
    assert [("a      text" in block, "b      text" in block) for block in blocks] == [(True, False), (False, True), (True, False)]


def test_text_is_not_folded_where_no_terminal_reads_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    TextView(Console(), watch=False).show(EVERYTHING, "")

    assert NO_CARD in capsys.readouterr().out


def test_json_has_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    followed(JsonView(watch=True), A, A, waiting(1), waiting(2), B)

    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["models"][0]["name"] for line in lines] == ["a", "a", "b"]


@pytest.mark.parametrize("text", [True, False])
def test_an_orchestrator_that_goes_away_is_waited_for_and_its_last_words_stay(
    capsys: pytest.CaptureFixture[str], *, text: bool
) -> None:
    view: View = TextView(Console(), watch=True) if text else JsonView(watch=True)
    followed(view, A, AwayError("away"), AwayError("away"), B)

    said = capsys.readouterr()
    assert (said.out if text else said.err).count("Nobody answers") == 1
    assert said.out.rstrip().splitlines()[-1].startswith("org/b ") is text


def test_an_orchestrator_that_was_never_there_ends_the_watch() -> None:
    def look() -> Overview:
        message = "away"
        raise AwayError(message)

    with pytest.raises(AwayError):
        follow(look, JsonView(watch=True), lambda: None)


def test_a_terminal_is_drawn_anew_in_the_same_place() -> None:
    console = Console(file=(printed := io.StringIO()), force_terminal=True, width=80, _environ={"TERM": "xterm-256color"})
    followed(LiveView(console), A, B)

    up = "\x1b[1A"
    first, *_, last = printed.getvalue().split(up)
    assert "text-to-image" in first
    assert printed.getvalue().count(up) >= drawn(A).count("\n") - 1
    assert last.rstrip().endswith("\x1b[?25h")


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_whose_user_wants_them(environment: dict[str, str], *, coloured: bool) -> None:
    console = Console(
        file=(printed := io.StringIO()), force_terminal=True, width=80, _environ={"TERM": "xterm-256color"} | environment
    )
    TextView(console, watch=False).show(EVERYTHING, "")

    assert ("\x1b[32m" in printed.getvalue()) is coloured
