"""A worker or an orchestrator behind a URL."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from aiohttp import web
from PIL import Image

from stoker_contracts.names import HEADER_COLD_START
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import GpuInfo, HardwareInfo
from stoker_worker.bench import over_http
from stoker_worker.bench.document import Result
from stoker_worker.bench.failure import BenchError
from stoker_worker.bench.jobs import PICTURE_SIDE
from stoker_worker.bench.options import Options
from stoker_worker.bench.over_http import Server, measure
from stoker_worker.bench.plan import Load
from stoker_worker.bench.target import Seen
from stoker_worker.engine.stub import FRAMES
from tests.support.bench import SMALL, Quiet, in_virtual_time, options
from tests.support.fleet import model
from tests.support.orchestrator import world
from tests.support.scripted_worker import DONE, Scripted, raising, saying
from tests.support.stub_workers import StubWorkers

T2I, I2I, I2V = Pipeline.TEXT_TO_IMAGE, Pipeline.IMAGE_TO_IMAGE, Pipeline.IMAGE_TO_VIDEO


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubWorkers]:
    made = StubWorkers(tmp_path_factory.mktemp("workers"))
    yield made
    made.close()


class Recording(httpx2.AsyncHTTPTransport):
    """The network, and the bodies of the jobs that went over it."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[bytes] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            self.jobs.append(await request.aread())
        return await super().handle_async_request(request)


async def run(server: Server, chosen: Options | None = None, pipeline: Pipeline | None = None, of: str | None = None) -> Result:
    return await measure(server, pipeline, of, chosen or options(), Quiet())


async def test_a_worker_tells_its_load_and_where_time_goes(workers: StubWorkers) -> None:
    server = Server(workers.url())
    found = await run(server, options(Load(runs=12, concurrency=3), warmup=2))

    assert (found.target.place, found.target.model_id, found.target.pipeline) == ("worker", "org/model", T2I)
    assert (found.figures.counts.done, found.figures.counts.failed, found.figures.pictures) == (12, 0, 12)
    stages = found.figures.stages
    assert set(stages) == {"queue", "inference", "encode"}
    assert stages["queue"].count == stages["encode"].count == 12
    assert 1 <= stages["inference"].count <= 12  # jobs may share a batch
    assert stages["inference"].mean >= 1
    assert found.load is not None
    assert "weights" in found.load.stages
    assert len(found.warmup.milliseconds) == 2
    assert found.figures.late is None


@pytest.mark.parametrize("form", ["frames", "mp4"])
async def test_frames_of_a_video_are_counted_in_either_form(form: str, workers: StubWorkers) -> None:
    server = Server(workers.url(I2V))
    found = await run(server, options(Load(runs=2), fields={**SMALL, "output_format": form}))

    assert (found.target.pipeline, found.figures.counts.done, found.figures.pictures) == (I2V, 2, 2 * FRAMES)


async def test_an_image_job_carries_a_made_picture_or_the_given_one(tmp_path: Path, workers: StubWorkers) -> None:
    Image.new("RGB", (48, 24), "red").save(file := tmp_path / "in.png")
    fields = {"num_inference_steps": 4}
    made, given = Recording(), Recording()
    await run(Server(workers.url(I2I), transport=made), options(Load(runs=1), warmup=0, fields=fields))
    await run(Server(workers.url(I2I), transport=given), options(Load(runs=1), warmup=0, fields=fields, image=file))

    (drawn,), (sent,) = made.jobs, given.jobs
    assert Image.open(io.BytesIO(drawn[drawn.index(b"\x89PNG") :])).size == (PICTURE_SIDE, PICTURE_SIDE)
    assert file.read_bytes() in sent


async def test_a_picture_that_workers_refuse_is_refused_before_anything_is_sent(tmp_path: Path, workers: StubWorkers) -> None:
    (file := tmp_path / "in.png").write_bytes(b"no picture")
    server = Server(workers.url(I2I))
    with pytest.raises(BenchError, match="--image: the image cannot be read"):
        await run(server, options(image=file))


async def test_a_batch_is_one_job_with_so_many_images(workers: StubWorkers) -> None:
    server = Server(workers.url())
    found = await run(server, options(Load(runs=3), batch_size=4))

    assert (found.figures.counts.done, found.figures.pictures) == (3, 12)


async def test_a_batch_of_videos_is_refused(workers: StubWorkers) -> None:
    server = Server(workers.url(I2V))
    with pytest.raises(BenchError, match="a job is one video; --concurrency sends several"):
        await run(server, options(batch_size=2))


def test_failures_are_counted_by_kind_and_the_others_go_on() -> None:
    busy = {"detail": {"msg": "worker is full"}, "error": {"message": "worker is full", "type": "worker_full"}}
    scripted = Scripted(
        saying(), saying(busy, 500), raising(httpx2.ReadError("gone")), raising(httpx2.ConnectError("refused")),
        saying({"images": []}),
    )  # fmt: skip
    found = in_virtual_time(run(scripted.server, options(Load(runs=10, concurrency=2), warmup=0)))

    assert (found.figures.counts.done, found.figures.counts.failed) == (2, 8)
    assert {each.kind: (each.count, each.example) for each in found.figures.errors} == {
        "HTTP 500 worker_full": (2, "worker is full"),
        "connection": (4, "the connection broke before the answer was whole (ReadError)"),
        "broken answer": (2, "0 of 1 pictures came back"),
    }


def test_a_job_without_an_answer_in_time_is_a_timeout() -> None:
    async def silent(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return await Scripted()(request)
        await asyncio.sleep(1000)
        raise AssertionError

    server = Server("http://worker", transport=httpx2.MockTransport(silent))
    found = in_virtual_time(run(server, options(Load(runs=3), timeout=7, warmup=1)))

    assert [(each.kind, each.count, each.example) for each in found.figures.errors] == [("timeout", 3, "no answer within 7 s")]
    assert (found.warmup.failed, found.figures.seconds) == (1, 21)


async def test_cold_starts_and_waits_are_read_from_the_answers() -> None:
    scripted = Scripted(saying(stoker_cold_start="true", stoker_queue_ms="900"), saying(stoker_queue_ms="2"))
    found = await run(scripted.server, options(Load(runs=4), warmup=1))

    assert (found.warmup.cold_starts, found.figures.cold_starts) == (1, 2)
    assert found.figures.queue is not None
    assert (found.figures.queue.count, found.figures.queue.max) == (4, 900)
    assert HEADER_COLD_START == "Stoker-Cold-Start"


async def test_every_job_names_the_model_and_has_a_seed_of_its_own() -> None:
    scripted = Scripted(saying())
    await run(scripted.server, options(Load(runs=3), warmup=0, seed=5))
    bodies = [httpx2.Response(200, content=job.content).json() for job in scripted.jobs]

    assert [body["seed"] for body in bodies] == [5, 6, 7]
    assert {body["model_id"] for body in bodies} == {"org/model"}
    assert bodies[0].keys() == {"prompt", "width", "height", "num_inference_steps", "model_id", "seed"}


async def test_the_token_is_sent_and_shown_nowhere(workers: StubWorkers) -> None:
    server = Server(workers.url(AUTH_TOKEN="s3cret"))
    with pytest.raises(BenchError, match="A token is asked for"):
        await run(server)
    known = Server(server.url, "s3cret")
    found = await run(known)

    assert found.figures.counts.done == 10
    assert "s3cret" not in found.model_dump_json() + repr(known)


async def test_a_refusal_that_every_job_would_meet_ends_it_at_once(workers: StubWorkers) -> None:
    server = Server(workers.url())
    with pytest.raises(
        BenchError, match=r"The job is refused \(HTTP 400 invalid_request\): width and height must be divisible by 8"
    ):
        await run(server, options(fields={**SMALL, "width": 65}))


async def test_a_busy_server_at_the_warm_up_ends_nothing() -> None:
    found = await run(Scripted(saying({}, 429), saying()).server, options(Load(runs=1), warmup=1))

    assert (found.warmup.failed, found.figures.counts.done) == (1, 1)


def test_a_worker_that_loads_is_waited_for() -> None:
    scripted = Scripted(saying(), health=("LOADING", "LOADING", "IDLE"))
    assert in_virtual_time(run(scripted.server, options(Load(runs=1)))).figures.counts.done == 1


def test_a_worker_that_never_loads_is_given_up() -> None:
    server = Scripted(saying(), health=("LOADING",)).server
    with pytest.raises(BenchError, match="The worker has not loaded its model within 30 s"):
        in_virtual_time(run(server, options(timeout=30)))


async def test_a_worker_that_has_failed_is_told() -> None:
    with pytest.raises(BenchError, match="The worker has failed; its log says why"):
        await run(Scripted(saying(), health=("ERROR",)).server)


@pytest.mark.parametrize(
    ("pipeline", "of", "words"),
    [
        (I2V, None, "The worker there serves text-to-image, not image-to-video."),
        (None, "org/other", "The worker there has org/model, not org/other."),
    ],
)
async def test_another_worker_than_the_asked_one_is_told(pipeline: Pipeline | None, of: str | None, words: str) -> None:
    with pytest.raises(BenchError) as error:
        await run(Scripted(saying()).server, None, pipeline, of)
    assert error.value.message == words


async def test_a_worker_with_cards_tells_their_names_and_what_is_taken() -> None:
    card = GpuInfo(id="GPU-1", name="NVIDIA H200", memory_total=100, memory_free=40, major=9, minor=0)
    info = HardwareInfo(pipeline="text-to-image", model_id="org/model", gpu_info={"0": card, "1": card})
    scripted = Scripted(saying(), hardware=info.model_dump())
    found = await run(scripted.server)

    assert found.target.devices == ("NVIDIA H200", "NVIDIA H200")
    assert found.memory is not None
    assert (found.memory.of, found.memory.loaded.allocated) == ("device", 120)


async def test_a_workers_batches_are_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([Seen({"queue": (1, 1)}, rows=10, batches=5), Seen({"queue": (3, 5)}, rows=24, batches=9)])

    async def look(_: httpx2.AsyncClient) -> Seen:
        return next(looks)

    monkeypatch.setattr(over_http, "seen", look)
    found = (await run(Scripted(saying()).server, options(Load(runs=4)))).figures

    assert found.rows_per_batch == 3.5
    assert (found.stages["queue"].count, found.stages["queue"].mean) == (4, 500)


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")])
async def test_nobody_at_the_url_is_told_in_one_sentence(error: Exception) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error

    with pytest.raises(BenchError, match=r"^Nobody answers at that URL\. "):
        await run(Server("http://nobody", transport=httpx2.MockTransport(fail)))


async def test_somebody_else_at_the_url_is_told() -> None:
    elsewhere = httpx2.MockTransport(lambda _: httpx2.Response(200, text="<html>"))

    with pytest.raises(BenchError, match=r"neither a worker nor an orchestrator \(HTTP 200\)"):
        await run(Server("http://elsewhere", transport=elsewhere))


async def picture(_: web.Request) -> web.StreamResponse:
    return web.json_response(DONE)


async def test_an_orchestrator_is_measured_with_what_its_answers_say_of_the_line() -> None:
    async with world(model("m"), model("n")) as here:
        await here.worker("m-1", picture, capacity=2)
        found = await run(Server(here.url), options(Load(runs=6, concurrency=2)), of="org/m")

    assert (found.target.place, found.target.model_id, found.figures.counts.done) == ("orchestrator", "org/m", 6)
    assert found.figures.queue is not None
    assert found.figures.queue.count == 6
    assert (found.load, found.memory, found.figures.stages) == (None, None, {})


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ("org/x", "There is no org/x for text-to-image at that URL. There are: org/m, org/n."),
        (None, "Name one text-to-image model with --model-id. There are: org/m, org/n."),
    ],
)
async def test_a_model_that_an_orchestrator_does_not_have_is_told_with_those_that_it_has(of: str | None, words: str) -> None:
    async with world(model("m"), model("n")) as here:
        with pytest.raises(BenchError) as error:
            await run(Server(here.url), of=of)
    assert error.value.message == words
