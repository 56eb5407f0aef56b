"""The engine that the settings ask for."""

from stoker_worker.app.settings import Settings
from stoker_worker.engine.protocol import Engine
from stoker_worker.engine.stub import StubEngine


def engine_of(settings: Settings) -> Engine:
    """Made and not loaded; torch is imported by its load."""
    if settings.engine == "stub":
        return StubEngine(settings.stub_script)
    from stoker_worker.engine.diffusers import DiffusersEngine  # noqa: PLC0415 - the stub needs none of its modules
    from stoker_worker.engine.start.pipeline import Model  # noqa: PLC0415 - as above

    model = Model(
        settings.pipeline,
        settings.model_id,
        settings.model_dir,
        settings.device,
        settings.switches,
        settings.gpu_memory_budget_bytes,
        settings.shapes,
    )
    return DiffusersEngine(model, settings.compile_cache_dir)
