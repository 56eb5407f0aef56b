"""``stoker-bench run``: one benchmark."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx2
import orjson
from pydantic import ValidationError
from rich.console import Console

from stoker_contracts.jobs import MAX_SEED
from stoker_contracts.pipelines import Pipeline
from stoker_worker.app.engines import engine_of
from stoker_worker.app.limits import job_limits
from stoker_worker.app.settings import Settings
from stoker_worker.bench import in_process, over_http
from stoker_worker.bench.document import Result
from stoker_worker.bench.failure import BenchError
from stoker_worker.bench.files import checked_place, read_mix, write_json
from stoker_worker.bench.options import PROMPT, Options
from stoker_worker.bench.plan import Load
from stoker_worker.bench.progress import view
from stoker_worker.bench.report import report
from stoker_worker.bench.tables import show

RUNS = 10
EXIT_NOTHING_DONE, EXIT_INTERRUPTED = 1, 130
_F = TypeVar("_F", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(path_type=Path)


def _options(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Several options at once, in this order."""

    def add(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        url = httpx2.URL(value)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        message = "give a URL such as http://127.0.0.1:8000"
        raise click.BadParameter(message)
    return value


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals:
            message = f"{value} is not NAME=VALUE"
            raise click.BadParameter(message)
        pairs[name] = _value(text)
    return pairs


def _value(text: str) -> Any:
    """A number or a truth value where it reads as one, else words."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, bool | int | float) else text


_SUBJECT = _options(
    click.option("--pipeline", type=click.Choice([each.value for each in Pipeline]),
                 help="What the model does.  [default: what the worker says, else text-to-image]"),
    click.option("--model-id", metavar="ID", help="The model; needed in this process, and where a URL has several."),
    click.option("--url", metavar="URL", envvar="STOKER_BENCH_URL", show_envvar=True, callback=_url,
                 help="A worker or an orchestrator. Without it the model is loaded in this process."),
    click.option("--token-env", metavar="NAME", help="Environment variable that holds the bearer token for --url."),
)  # fmt: skip
_HERE = _options(
    click.option("--model-dir", type=_FOLDER, envvar="MODEL_DIR", default=Path("/models"), show_default=True, show_envvar=True,
                 help="Folder with the weights, as a worker's."),
    click.option("--engine", type=click.Choice(["diffusers", "stub"]), default="diffusers", show_default=True,
                 help="stub: no model, times by STUB_SCRIPT."),
    click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto", show_default=True,
                 help="auto: a card where there is one."),
    click.option("--optimization", metavar="LIST", default="", help="A worker's switches, such as bfloat16,compile."),
)  # fmt: skip
_JOB = _options(
    click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True,
                 help="In this process: rows of one call. With --url: images of one job."),
    click.option("--steps", type=click.IntRange(0), default=0, show_default=True,
                 help="Denoising steps; 0: the model's own default."),
    click.option("--width", type=int, help="Pixels; of the picture that is sent for image-to-image.  [default: the pipeline's]"),
    click.option("--height", type=int, help="As above."),
    click.option("--prompt", help=f"Words of all jobs.  [default: {PROMPT}]"),
    click.option("--image", type=_FILE, help="Picture that jobs carry.  [default: a made one of the job's size]"),
    click.option("--output-format", type=click.Choice(["frames", "mp4"]),
                 help="How videos are asked for.  [default: the pipeline's]"),
    click.option("--field", "fields", metavar="NAME=VALUE", multiple=True, callback=_pairs,
                 help="Any other field of the jobs, such as guidance_scale=0; may be repeated."),
    click.option("--mix", type=_FILE, help="YAML or JSON list of jobs with weights, see above."),
)  # fmt: skip
_PRESSURE = _options(
    click.option("--runs", type=click.IntRange(1), help=f"How many jobs.  [default: {RUNS}, or what fits --duration]"),
    click.option("--duration", metavar="SECONDS", type=click.FloatRange(0, min_open=True), help="Begin no job after so long."),
    click.option("--warmup", type=click.IntRange(0), default=1, show_default=True, help="Jobs before that are not counted."),
    click.option("--concurrency", type=click.IntRange(1, 4096), default=1, show_default=True,
                 help="With --url: callers that each wait for their answer."),
    click.option("--rate", metavar="PER_SECOND", type=click.FloatRange(0, min_open=True),
                 help="With --url: jobs are due by the clock instead, answered or not."),
    click.option("--arrivals", type=click.Choice(["poisson", "uniform"]), default="poisson", show_default=True,
                 help="With --rate: by chance as from many callers, or at equal distances."),
    click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True,
                 help="Decides about pictures, times and the order of a mix."),
    click.option("--timeout", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=600, show_default=True,
                 help="With --url: how long a job may take, or a worker may load."),
)  # fmt: skip
_OUTPUT = _options(
    click.option("--json", "place", metavar="FILE", callback=checked_place,
                 help="Write the result for programs too; - is standard output, and alone there."),
    click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True,
                 help="What is printed: for people, or for programs as --json -."),
)  # fmt: skip


@click.command()
@_SUBJECT
@_HERE
@_JOB
@_PRESSURE
@_OUTPUT
def run(**given: Any) -> None:
    """Measure one model.

    In this process it is loaded by the worker's engine; load, memory, inference and encoding are measured. At a URL jobs are sent
    to a worker or an orchestrator, or to anything that speaks as Livepeer's runner does.

    \b
      stoker-bench run --model-id stabilityai/sdxl-turbo --model-dir /models --width 512 --height 512
      stoker-bench run --url http://127.0.0.1:8000 --concurrency 4 --duration 60
      stoker-bench run --url http://127.0.0.1:8935 --model-id ID --rate 2 --duration 60 --json a.json

    Latency counts until the answer is whole. With --rate it counts from when a job was due, not from when it was sent: a
    server that falls behind cannot hide it.

    A mix has one entry for each kind of job, with the fields of the pipeline and a weight. The options fill in the rest:

    \b
      - {name: draft, weight: 3, width: 512, height: 512, num_inference_steps: 1}
      - {name: final, weight: 1, width: 1024, height: 1024, num_inference_steps: 30}

    Ctrl-C ends the run and shows what was measured.

    The command ends with 0; with 1 where no job was done; with 2 and a sentence where nothing could be measured; with 130 after
    Ctrl-C.
    """  # noqa: D301 - click's mark for text that it must not wrap
    if given["shape"] == "json":
        given["place"] = given["place"] or "-"
    options = _checked(given)
    try:
        result = _over_http(given, options) if given["url"] else _in_process(given, options)
    except KeyboardInterrupt:
        click.echo("Stopped before anything was measured.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    _show(result, given["place"], given["shape"])
    if result.interrupted:
        sys.exit(EXIT_INTERRUPTED)
    if not result.figures.counts.done:
        sys.exit(EXIT_NOTHING_DONE)


def _show(result: Result, place: str | None, shape: str) -> None:
    if place is not None:
        write_json(result, place)
    if place != "-" and shape == "table":
        show(report(result))


def _checked(given: dict[str, Any]) -> Options:
    """The options, where they go together. Raises click's usage errors."""
    _refuse_together(given)
    fields = {"num_inference_steps": given["steps"], **given["fields"]}
    for name in ("width", "height", "prompt", "output_format"):
        if given[name] is not None:
            fields[name] = given[name]
    runs = given["runs"] or (None if given["duration"] is not None else RUNS)
    load = Load(runs, given["duration"], given["concurrency"], given["rate"], given["arrivals"])
    mix = read_mix(given["mix"]) if given["mix"] is not None else None
    return Options(load, fields, mix, given["batch_size"], given["warmup"], given["seed"], given["timeout"], given["image"])


def _refuse_together(given: dict[str, Any]) -> None:
    said = click.get_current_context().get_parameter_source
    explicit = {name for name in given if said(name) is click.core.ParameterSource.COMMANDLINE}
    if given["url"] is None:
        alone = {"concurrency", "rate", "arrivals", "timeout", "token_env"} & explicit
        words = "needs --url: in this process one batch runs after the other"
    else:
        alone = {"model_dir", "engine", "device", "optimization"} & explicit
        words = "is the worker's own business with --url"
    if alone:
        message = f"--{min(alone).replace('_', '-')} {words}."
        raise click.UsageError(message)
    if given["rate"] is not None and "concurrency" in explicit:
        message = "--concurrency has callers that wait, --rate a clock that does not: give one of them."
        raise click.UsageError(message)


def _over_http(given: dict[str, Any], options: Options) -> Result:
    server = over_http.Server(given["url"], _token(given["token_env"]))
    pipeline = Pipeline(given["pipeline"]) if given["pipeline"] else None
    shown = view(Console(stderr=True, highlight=False))
    return asyncio.run(over_http.measure(server, pipeline, given["model_id"], options, shown))


def _token(name: str | None) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name)
    if not token:
        message = f"--token-env: the environment has no variable {name}, or it is empty."
        raise BenchError(message)
    return token


def _in_process(given: dict[str, Any], options: Options) -> Result:
    pipeline = Pipeline(given["pipeline"] or Pipeline.TEXT_TO_IMAGE)
    model_id = given["model_id"] or ("stub" if given["engine"] == "stub" else None)
    if model_id is None:
        message = "--model-id is needed to load a model in this process; --url measures one that is loaded."
        raise click.UsageError(message)
    settings = _settings(given, pipeline, model_id)
    subject = in_process.Subject(
        pipeline, model_id, given["engine"], tuple(sorted(settings.switches)), job_limits(settings), lambda: engine_of(settings)
    )
    return in_process.measure(subject, options, view(Console(stderr=True, highlight=False)), in_process.Stop())


def _settings(given: dict[str, Any], pipeline: Pipeline, model_id: str) -> Settings:
    """A worker's settings; its memory budget and the stub's script come from the environment. Raises BenchError."""
    names = ("model_dir", "engine", "device", "optimization")
    try:
        return Settings(pipeline=pipeline, model_id=model_id, **{name: given[name] for name in names})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        words = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in found)
        raise BenchError(words) from None
