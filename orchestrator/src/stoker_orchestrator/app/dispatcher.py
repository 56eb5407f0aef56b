"""The first thing that a request meets: jobs go straight to the raw job path, the rest to FastAPI."""

from stoker_contracts.names import HEADER_REQUEST_ID
from stoker_orchestrator.app.asgi import App, Message, Receive, Scope, Send
from stoker_orchestrator.app.jobs import JobRoutes, request_id
from stoker_orchestrator.app.target import job_path


class Dispatcher:
    """The ASGI application of the orchestrator."""

    def __init__(self, jobs: JobRoutes, control: App) -> None:
        self._jobs = jobs
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the request where it belongs."""
        path = job_path(scope["path"]) if scope["type"] == "http" else None
        if path is not None:
            await self._jobs(scope, receive, send, path)
        elif scope["type"] == "http":
            await self._control(scope, receive, _identified(send, request_id(dict(scope["headers"]))))
        else:
            await self._control(scope, receive, send)


def _identified(send: Send, identity: str) -> Send:
    """`send` with the request's id among the headers: a request for a pipeline that does not exist has one, too."""

    async def with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (HEADER_REQUEST_ID.lower().encode(), identity.encode())]
        await send(message)

    return with_id
