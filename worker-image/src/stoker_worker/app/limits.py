"""What a job may ask of this worker: the operator's bounds and what the model's family can do."""

from stoker_contracts.jobs import JobLimits
from stoker_worker.app.settings import Settings
from stoker_worker.engine.families import limits
from stoker_worker.engine.start.folders import family_in


def job_limits(settings: Settings) -> JobLimits:
    """The limits that jobs are checked against before they are queued; the stub takes what any model might."""
    if settings.engine == "stub":
        return settings.limits
    return limits(family_in(settings.model_dir, settings.model_id, settings.pipeline), settings.limits)
