"""``stoker-bench`` as people and scripts call it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest
from click.testing import CliRunner, Result

from stoker_contracts.pipelines import Pipeline
from stoker_worker.bench.document import Result as Document
from stoker_worker.bench.main import stoker_bench
from stoker_worker.bench.options import Options
from stoker_worker.bench.plan import Load
from tests.support.ports import free_port
from tests.support.stub_workers import StubWorkers

STUB = ("run", "--engine", "stub", "--width", "64", "--height", "64")
QUICK = {"STUB_SCRIPT": '{"step_seconds": 0}'}


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(stoker_bench, arguments, env=QUICK | environment)


def document(found: Result) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(found.stdout)
    return content


def shape(node: Any) -> Any:
    """Names without values."""
    return {name: shape(child) for name, child in node.items()} if isinstance(node, dict) else "…"


def test_a_run_prints_a_page_and_says_on_the_side_what_it_does() -> None:
    found = call(*STUB, "--runs", "3")

    assert found.exit_code == 0
    assert found.stdout.startswith("stub  text-to-image  in this process\n")
    assert "3 done, 0 failed" in found.stdout
    assert found.stderr.splitlines()[0] == "loading stub for text-to-image"


@pytest.mark.parametrize("way", [("--json", "-"), ("--format", "json")])
def test_for_programs_standard_output_has_the_document_alone(way: tuple[str, str]) -> None:
    found = document(call(*STUB, "--runs", "3", *way))

    assert (found["version"], found["tool"], found["figures"]["counts"]["done"]) == (1, "stoker-bench", 3)


def test_the_shape_of_the_document_is_what_its_version_promises() -> None:
    """Who changes this changes the version, unless something is added alone."""
    found = document(call(*STUB, "--runs", "2", "--json", "-"))
    spread = dict.fromkeys(("count", "mean", "p50", "p95", "p99", "min", "max"), "…")
    stage = {"count": "…", "mean": "…", "spread": spread}
    held = {"allocated": "…", "reserved": "…"}

    del found["target"]["versions"]
    assert shape(found) == {
        **dict.fromkeys(("version", "tool", "tool_version", "made", "interrupted"), "…"),
        "target": dict.fromkeys(("place", "pipeline", "model_id", "engine", "devices", "switches", "lossy"), "…"),
        "settings": dict.fromkeys(
            ("loop", "runs", "duration", "concurrency", "rate", "arrivals", "batch_size", "warmup", "seed", "timeout", "jobs"), "…"
        ),
        "load": {"seconds": "…", "stages": {"weights": "…"}},
        "memory": {"of": "…", "loaded": held, "peak": held},
        "warmup": dict.fromkeys(("milliseconds", "failed", "cold_starts"), "…"),
        "figures": {
            **dict.fromkeys(("seconds", "pictures", "jobs_per_second", "pictures_per_second", "late", "queue"), "…"),
            **dict.fromkeys(("cold_starts", "errors", "pace", "latencies"), "…"),
            "counts": {"done": "…", "failed": "…", "abandoned": "…"},
            "latency": spread,
            "stages": {"inference": stage, "encode": stage},
            "rows_per_batch": "…",
            "by_kind": {},
        },
    }


def test_a_document_is_written_to_a_file_beside_the_page_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    found = call(*STUB, "--runs", "3", "--json", str(file))

    assert "3 done" in found.stdout
    assert Document.model_validate_json(file.read_text()).figures.counts.done == 3


def test_options_become_fields_of_the_jobs() -> None:
    found = call(
        *STUB, "--steps", "3", "--prompt", "x", "--field", "guidance_scale=0", "--field", "negative_prompt=a=b", "--json", "-"
    )

    assert document(found)["settings"]["jobs"][0]["fields"] == {
        "prompt": "x", "negative_prompt": "a=b", "guidance_scale": 0.0, "num_inference_steps": 3, "width": 64, "height": 64,
    }  # fmt: skip


def test_a_mix_is_read_from_a_file(tmp_path: Path) -> None:
    (file := tmp_path / "mix.yaml").write_text("- {name: a, weight: 1}\n- {name: b, weight: 1, num_inference_steps: 2}\n")
    found = document(call(*STUB, "--runs", "20", "--mix", str(file), "--json", "-"))

    assert {job["name"] for job in found["settings"]["jobs"]} == set(found["figures"]["by_kind"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "--model-id is needed"),
        (("run", "--model-id", "m", "--rate", "2"), "--rate needs --url"),
        (("run", "--model-id", "m", "--concurrency", "2"), "--concurrency needs --url"),
        (("run", "--url", "http://h", "--device", "cpu"), "--device is the worker's own business"),
        (("run", "--url", "http://h", "--rate", "1", "--concurrency", "2"), "give one of them"),
        (("run", "--url", "h:8000"), "give a URL such as http://127.0.0.1:8000"),
        (("run", "--url", "http://h:x"), "give a URL such as http://127.0.0.1:8000"),
        (("run", "--url", "http://h", "--token-env", "NOBODY_SET_THIS"), "the environment has no variable NOBODY_SET_THIS"),
        ((*STUB, "--field", "x"), "x is not NAME=VALUE"),
        ((*STUB, "--field", "stepz=3"), "the job: text-to-image has no field stepz"),
        ((*STUB, "--output-format", "mp4"), "the job: text-to-image has no field output_format"),
        ((*STUB, "--optimization", "magic"), "optimization: 'magic': no such switch"),
        ((*STUB, "--runs", "0"), "0 is not in the range x>=1"),
        ((*STUB, "--json", "/nowhere/a.json"), "/nowhere/a.json cannot be written"),
        ((*STUB, "--json", "/"), "/ cannot be written"),
        (("run", "--model-id", "m", "--model-dir", "/nowhere"), "the weights of m are missing"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_sentence_and_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    found = call(*arguments)

    assert found.exit_code == 2
    assert words in found.stderr
    assert found.stdout == ""


def test_nobody_at_the_url_is_told_and_ends_with_2() -> None:
    found = call("run", "--url", f"http://127.0.0.1:{free_port()}")

    assert found.exit_code == 2
    assert found.stderr == "Error: Nobody answers at that URL. Is the address right, the port forwarded, the worker started?\n"


def test_a_run_in_which_nothing_was_done_ends_with_1() -> None:
    found = call(*STUB, "--runs", "2", "--warmup", "0", STUB_SCRIPT='{"fault": "out_of_memory"}')

    assert found.exit_code == 1
    assert "out of memory     2  the card is full" in found.stdout


def test_every_option_is_explained() -> None:
    for command in stoker_bench.commands.values():
        assert command.help
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or (isinstance(parameter, click.Option) and parameter.help)
    assert call("--help").exit_code == call("run", "-h").exit_code == call("compare", "-h").exit_code == 0


def test_the_help_names_the_prompt_that_is_sent_without_one() -> None:
    sent = Options(Load(1), {}).kinds(Pipeline.TEXT_TO_IMAGE, batched=False)[0].fields["prompt"]

    assert f"[default: {sent}]" in " ".join(call("run", "--help").stdout.split())
    assert call("--version").stdout.startswith("stoker-bench ")


@asynccontextmanager
async def started(module: str, *arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the worker's package; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def measuring(process: asyncio.subprocess.Process) -> None:
    """Return when the first counted job is under way."""
    assert process.stderr is not None
    while (line := await process.stderr.readline()) != b"measuring\n":
        assert line


async def interrupted(process: asyncio.subprocess.Process) -> tuple[int | None, dict[str, Any]]:
    """Press Ctrl-C; the exit code, and the document."""
    process.send_signal(signal.SIGINT)
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, json.loads(out)


async def test_ctrl_c_ends_a_run_in_this_process_and_shows_what_was_measured() -> None:
    async with started("stoker_worker.bench", *STUB, "--duration", "600", "--json", "-") as process:
        await measuring(process)
        code, found = await interrupted(process)

    assert (code, found["interrupted"]) == (130, True)
    assert len(found["warmup"]["milliseconds"]) == 1


async def test_ctrl_c_while_the_model_loads_ends_with_a_sentence() -> None:
    async with started("stoker_worker.bench", *STUB, STUB_SCRIPT='{"load_seconds": 600}') as process:
        assert process.stderr is not None
        assert (await process.stderr.readline()).startswith(b"loading")
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)

    assert (process.returncode, out) == (130, b"")
    assert err == b"Stopped before anything was measured.\n"


async def test_what_the_command_lacks_is_told(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError('no rich', name='rich')")
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    async with started("stoker_worker.bench", "--help", PYTHONPATH=path) as process:
        _, err = await asyncio.wait_for(process.communicate(), 20)

    assert (process.returncode, err) == (2, b"Error: rich is not installed here. Install stoker-worker[bench].\n")


async def test_ctrl_c_ends_a_run_over_http_and_shows_what_was_measured(tmp_path: Path) -> None:
    with contextlib.closing(StubWorkers(tmp_path)) as workers:
        url = workers.url(STUB_SCRIPT='{"step_seconds": 0.01}')
        options = ("--url", url, "--width", "64", "--height", "64", "--duration", "600", "--json", "-")
        async with started("stoker_worker.bench", "run", *options) as process:
            await measuring(process)
            await done(url, 5)
            code, found = await interrupted(process)

    assert (code, found["interrupted"], found["target"]["place"]) == (130, True, "worker")
    assert found["figures"]["counts"]["done"] >= 3


async def done(url: str, jobs: int) -> None:
    """Return once the worker there has done so many jobs."""
    async with asyncio.timeout(20), httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        while True:
            text = (await client.get("/metrics")).text
            counted = [float(line.split()[1]) for line in text.splitlines() if line.startswith("stoker_worker_jobs_total")]
            if sum(counted) >= jobs:
                return
            await asyncio.sleep(0.02)
