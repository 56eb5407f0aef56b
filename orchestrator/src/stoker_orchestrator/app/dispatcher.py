"""The first thing that a request meets: jobs go straight to the job path, the rest to FastAPI."""

import asyncio

from stoker_contracts.pipelines import BY_ROUTE
from stoker_orchestrator.app.failures import REFUSING, refusal_for
from stoker_orchestrator.app.jobs import REQUEST_ID, JobRoutes, request_id
from stoker_orchestrator.app.replies import send_refusal
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.app.serving.framework import App, serve_by
from stoker_orchestrator.app.target import Path, job_path
from stoker_orchestrator.domain.admission import Refusal


class Dispatcher:
    """Answers all requests of the orchestrator."""

    def __init__(self, jobs: JobRoutes, control: App) -> None:
        self._jobs = jobs
        self._control = control
        self._plain = {route.encode(): Path(pipeline) for route, pipeline in BY_ROUTE.items()}

    def begin(self, exchange: Exchange) -> None:
        """Send the request where it belongs."""
        path = self._plain.get(exchange.target) or job_path(exchange.path)
        if path is not None:
            self._jobs.begin(exchange, path)
        else:
            exchange.spawn(self._serve_control(exchange))

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answer what is no request."""
        send_refusal(exchange, refusal, _identified(exchange))

    async def _serve_control(self, exchange: Exchange) -> None:
        try:
            await serve_by(self._control, exchange, _identified(exchange))
        except REFUSING as error:
            self._tell(exchange, error)
        except asyncio.CancelledError as cancellation:
            self._tell(exchange, exchange.ended_by(cancellation))

    def _tell(self, exchange: Exchange, error: Exception) -> None:
        refusal = refusal_for(error)
        if refusal is not None and not exchange.started:
            self.refuse(exchange, refusal)


def _identified(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """A request for a pipeline that does not exist has an id, too."""
    return [(REQUEST_ID, request_id(exchange.headers).encode())]
