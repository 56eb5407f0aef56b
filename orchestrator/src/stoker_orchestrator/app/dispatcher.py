"""The first thing that a request meets: jobs go straight to the raw job path, the rest to FastAPI."""

from stoker_orchestrator.app.asgi import App, Receive, Scope, Send
from stoker_orchestrator.app.jobs import JobRoutes
from stoker_orchestrator.app.target import job_path


class Dispatcher:
    """The ASGI application of the orchestrator."""

    def __init__(self, jobs: JobRoutes, control: App) -> None:
        self._jobs = jobs
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the request where it belongs."""
        path = job_path(scope["path"]) if scope["type"] == "http" else None
        if path is None:
            await self._control(scope, receive, send)
        else:
            await self._jobs(scope, receive, send, path)
