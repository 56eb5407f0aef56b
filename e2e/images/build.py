"""Builds Stoker's images into an engine: what is there already, under the name of its content, is not built again."""

import os
from dataclasses import dataclass
from pathlib import Path

from e2e.cache import ROOT, cache_dir, content_key
from e2e.cluster.engine import Engine
from e2e.commands import CommandError
from e2e.images.base import base_image, compiler_image, once
from e2e.images.models import RECIPES, model_folder

REGISTRY = "stoker.dev"
"""First part of the images' names. No registry has them: they are loaded into clusters."""
_HOW_TO_REACH_THE_INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables of this machine that builds get as well. Certificates come with the base image."""
_BUILD_SECONDS = 1800.0
_END_OF_ENVIRONMENT = "\nFROM ${ENVIRONMENT_IMAGE} AS code\n"


@dataclass(frozen=True)
class _Program:
    """An image of one of the members."""

    folder: str
    requirements: str
    compiled: bool = False
    """Whether a part of it is compiled, as tools/compile_job_path.py says."""
    environment: bool = False
    """Whether its environment is an image of its own, which outlives the builder's cache and every change of the sources."""

    @property
    def dockerfile(self) -> Path:
        return ROOT / self.folder / "Dockerfile"

    @property
    def dependencies(self) -> tuple[Path, Path]:
        return ROOT / "requirements/build.txt", ROOT / f"requirements/{self.requirements}.txt"

    @property
    def sources(self) -> tuple[Path, ...]:
        recipe = (ROOT / "tools/compile_job_path.py", ROOT / "requirements/compile.txt") if self.compiled else ()
        return ROOT / "contracts/src", ROOT / self.folder / "src", *recipe


_PROGRAMS = {
    "operator": _Program("operator", "operator"),
    "orchestrator": _Program("orchestrator", "orchestrator", compiled=True),
    "worker": _Program("worker-image", "worker", environment=True),
    "worker-stub": _Program("worker-image", "worker-stub"),
}
NAMES = (*_PROGRAMS, "models")
"""The images that there are."""


def build(engine: Engine, *names: str) -> dict[str, str]:
    """See that `engine` has the images `names`; returns name to reference. Raises CommandError."""
    if unknown := [name for name in names if name not in NAMES]:
        message = f"there is no image {', '.join(unknown)}; there are {', '.join(NAMES)}"
        raise CommandError(message)
    return {name: _models(engine) if name == "models" else _program(engine, name) for name in names}


def _program(engine: Engine, name: str) -> str:
    program = _PROGRAMS[name]
    # The image that runs models needs a C compiler. Its recipe fetches one from the distribution, which a private base is made of.
    base = compiler_image(engine) if program.environment and engine.private else base_image(engine)
    key = content_key(base, program.requirements, program.dockerfile, *program.dependencies, *program.sources)
    reference = f"{REGISTRY}/{name}:{key}"

    def make() -> None:
        settings = {"BASE_IMAGE": base}
        if program.folder == "worker-image":
            settings["REQUIREMENTS"] = program.requirements
        if program.compiled:
            settings["COMPILER_IMAGE"] = compiler_image(engine)
        if program.environment:
            settings["ENVIRONMENT_IMAGE"] = _environment(engine, name, settings)
        _build(engine, name, reference, settings)

    return once(engine, reference, f"Building {reference}", make)


def _environment(engine: Engine, name: str, settings: dict[str, str]) -> str:
    """The image with all that the program needs and nothing of ours."""
    program = _PROGRAMS[name]
    recipe, _, _ = program.dockerfile.read_text().partition(_END_OF_ENVIRONMENT)
    reference = f"{REGISTRY}/{name}-environment:{content_key(settings['BASE_IMAGE'], recipe, *program.dependencies)}"
    return once(
        engine, reference, f"Building {reference}", lambda: _build(engine, name, reference, settings, "--target", "environment")
    )


def _build(engine: Engine, name: str, reference: str, settings: dict[str, str], *more: str) -> None:
    named = [f"{setting}={value}" for setting, value in settings.items()]
    named += [variable for variable in _HOW_TO_REACH_THE_INDEX if os.environ.get(variable)]
    engine.docker(
        *("build", "--progress", "plain", "--network", "host", "--file", str(_PROGRAMS[name].dockerfile), "--tag", reference),
        *(f"--build-arg={each}" for each in named),
        *(*more, str(ROOT)),
        log=_log(name),
        timeout=_BUILD_SECONDS,
    )


def _models(engine: Engine) -> str:
    """The project's own models at the root of an image, to be mounted as a volume."""
    reference = f"{REGISTRY}/models:{content_key(*RECIPES)}"

    def make() -> None:
        recipe = "FROM scratch\nCOPY . /\n"
        engine.docker("build", "--tag", reference, "--file", "-", str(model_folder()), text_in=recipe, log=_log("models"))

    return once(engine, reference, f"Building {reference}", make)


def _log(name: str) -> Path:
    folder = cache_dir() / "logs"
    folder.mkdir(exist_ok=True)
    return folder / f"image-{name}.log"
