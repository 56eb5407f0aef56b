"""One job on its way through the orchestrator."""

from collections.abc import Mapping
from dataclasses import dataclass

from stoker_orchestrator.app.asgi import Send
from stoker_orchestrator.app.body import Body
from stoker_orchestrator.app.replies import send_refusal
from stoker_orchestrator.app.target import Path
from stoker_orchestrator.domain.admission import Refusal


@dataclass(slots=True)
class Job:
    """One request on its way.

    `declared` is the length of its body, where the caller has said so. `caller` is whom lines are fair to, `timeout` the seconds
    that the caller gives the job, cold starts not counted. `started` is set once the caller has the head of an answer: from then on
    nothing else can be said.
    """

    path: Path
    headers: Mapping[bytes, bytes]
    body: Body
    send: Send
    request_id: str
    declared: int | None
    told: list[tuple[bytes, bytes]]
    caller: str = ""
    timeout: float | None = None
    model: str = ""
    status: int = 0
    reason: str = ""
    started: bool = False

    async def refuse(self, refusal: Refusal) -> None:
        """Tell the caller why the job is not served."""
        self.status, self.reason = refusal.status, refusal.code or refusal.kind.value
        await send_refusal(self.send, refusal, self.told)
