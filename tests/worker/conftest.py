"""The tiny models, written once for all tests, and the engines that run them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stoker_contracts.pipelines import Pipeline

if TYPE_CHECKING:
    from stoker_worker.engine.diffusers import DiffusersEngine

Engines = Callable[[str, Pipeline], "DiffusersEngine"]
"""The loaded engine of a family's tiny model for one of its pipelines."""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny models, one of each family: it serves all pipelines of the family."""
    from stoker_worker.engine import tiny  # noqa: PLC0415 - the tests without torch need none of this

    directory = tmp_path_factory.mktemp("models")
    for family, pipelines in tiny.FAMILIES.items():
        tiny.write(directory, pipelines[0], family)
    return directory


@pytest.fixture(scope="session")
def engines(models: Path) -> Engines:
    """Loads each engine once."""
    from stoker_worker.engine import tiny  # noqa: PLC0415 - as above
    from stoker_worker.engine.diffusers import DiffusersEngine  # noqa: PLC0415 - as above
    from stoker_worker.engine.start.pipeline import Model  # noqa: PLC0415 - as above

    loaded: dict[tuple[str, Pipeline], DiffusersEngine] = {}

    def engine(family: str, pipeline: Pipeline) -> DiffusersEngine:
        if (family, pipeline) not in loaded:
            model_id = tiny.model_id(tiny.FAMILIES[family][0], family)
            made = DiffusersEngine(Model(pipeline, model_id, models, "cpu"))
            made.load(lambda _name, _seconds: None)
            if made._family.frames is not None:
                made._family = replace(made._family, frames=made._family.frame_step + 1)
            loaded[family, pipeline] = made
        return loaded[family, pipeline]

    return engine
