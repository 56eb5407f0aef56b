"""What the command line says, checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_contracts.jobs import REQUESTS, ImageToVideo
from stoker_contracts.pipelines import FACTS, Media, Pipeline
from stoker_worker.bench.document import JobKind, Settings
from stoker_worker.bench.jobs import Kind, MixError, parse_mix, single
from stoker_worker.bench.plan import Load

PROMPT = "a lighthouse on a cliff at dusk, soft light"


@dataclass(frozen=True, slots=True)
class Options:
    """One benchmark. `fields` are those of all jobs; `mix` is the content of a mix file, None where there is none."""

    load: Load
    fields: dict[str, Any]
    mix: Any = None
    batch_size: int = 1
    warmup: int = 1
    seed: int = 0
    timeout: float = 600.0
    image: Path | None = None

    def kinds(self, pipeline: Pipeline, *, batched: bool) -> tuple[Kind, ...]:
        """The jobs for `pipeline`, each for a whole batch where a server is to make it of one job. Raises MixError."""
        known = set(REQUESTS[pipeline].model_fields)
        fields = {"prompt": PROMPT, **self.fields} if "prompt" in known else dict(self.fields)
        if batched and self.batch_size > 1:
            if "num_images_per_prompt" not in known:
                message = "--batch-size: a job is one video; --concurrency sends several at a time"
                raise MixError(message)
            fields.setdefault("num_images_per_prompt", self.batch_size)
        if self.mix is not None:
            return parse_mix(pipeline, self.mix, fields)
        return (single(pipeline, fields),)

    def settings(self, kinds: tuple[Kind, ...]) -> Settings:
        """For the result: how it was measured."""
        load = self.load
        return Settings(
            loop="closed" if load.rate is None else "open",
            runs=load.runs,
            duration=load.duration,
            concurrency=load.concurrency,
            rate=load.rate,
            arrivals=None if load.rate is None else load.arrivals,
            batch_size=self.batch_size,
            warmup=self.warmup,
            seed=self.seed,
            timeout=self.timeout,
            jobs=tuple(JobKind(name=kind.name, weight=kind.weight, fields=_shown(kind)) for kind in kinds),
        )


def _shown(kind: Kind) -> dict[str, Any]:
    """What was said of a kind, and the size of the picture that it carries."""
    width, height = kind.size
    return {**kind.fields, "width": width, "height": height}


def takes_image(pipeline: Pipeline) -> bool:
    """Whether jobs carry a picture."""
    return FACTS[pipeline].takes_image


def word(pipeline: Pipeline) -> str:
    """What is counted."""
    return "frames" if FACTS[pipeline].produces is Media.VIDEO else "images"


def as_mp4(kind: Kind) -> bool:
    """Whether a video is asked for as one file."""
    return isinstance(kind.job, ImageToVideo) and kind.job.output_format == "mp4"
