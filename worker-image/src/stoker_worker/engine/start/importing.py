"""torch, diffusers and transformers: seconds of imports, made as short as they can be."""

import atexit
import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stoker_worker.engine.protocol import StageHook

_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_ENABLE_PARALLEL_LOADING": "TRUE"}
"""Nothing is fetched or told. The shards of a large model are read by several threads: 30 s instead of 55 s for one of 60 GB
(transformers, "Environment Variables")."""


@dataclass(frozen=True, slots=True)
class Libraries:
    """The imported modules."""

    torch: Any
    diffusers: Any
    transformers: Any

    def kind(self, library: str, name: str) -> Any:
        """The class of a component as ``model_index.json`` names it; None where these libraries have none of that name."""
        module = {"diffusers": self.diffusers, "transformers": self.transformers}.get(library)
        return getattr(module, name, None)


def import_libraries(pipeline_class: str, stage: StageHook) -> Libraries:
    """Import what a pipeline of this class needs. Nothing is fetched from a network from then on."""
    began = time.monotonic()
    os.environ |= _ENVIRONMENT
    with collection_paused():
        import diffusers  # noqa: PLC0415 - seconds of imports that must not delay the port
        import torch  # noqa: PLC0415 - as above
        import transformers  # noqa: PLC0415 - as above

        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        getattr(diffusers, pipeline_class)
    atexit.register(gc.unfreeze)  # an interpreter that takes itself down complains about what it cannot collect
    stage("import", time.monotonic() - began)
    return Libraries(torch, diffusers, transformers)


@contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection meanwhile, and none ever of what is there afterwards.

    Imports make half a million objects that stay. To look through them over and over takes a quarter of the imports' time, and
    once more in the middle of a job 0.4 s (both measured with torch 2.15 and diffusers 0.42 on one core).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
