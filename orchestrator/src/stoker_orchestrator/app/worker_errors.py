"""Why a worker ran no job, though it was there."""


class WorkerFullError(Exception):
    """The worker has as many jobs as it takes. Ours are counted, so another orchestrator's are there, as during a rollout."""


class WorkerLeavingError(Exception):
    """The worker drains, or takes no jobs of ours; nothing is lost."""


class WorkerLateError(Exception):
    """The caller's time was over before the worker began."""
