"""One job on its way through the orchestrator."""

from collections.abc import Mapping
from dataclasses import dataclass

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.body import Body
from stoker_orchestrator.app.replies import Reply, send_refusal
from stoker_orchestrator.app.target import Path
from stoker_orchestrator.domain.admission import Refusal


@dataclass(slots=True)
class Job:
    """One request on its way.

    `declared` is the length of its body, where the caller has said so; `told` are headers of whatever answer it gets. `caller` is
    whom lines are fair to, `timeout` the seconds that the caller gives the job, cold starts not counted. `status` and `reason` say
    how it ended: what sets neither has failed in a way that was not foreseen.
    """

    path: Path
    headers: Mapping[bytes, bytes]
    body: Body
    reply: Reply
    request_id: str
    declared: int | None
    told: list[tuple[bytes, bytes]]
    caller: str = ""
    timeout: float | None = None
    model: str = ""
    status: int = 500
    reason: str = ErrorType.INTERNAL.value

    @property
    def started(self) -> bool:
        """Whether the caller was given the head of an answer: from then on nothing else can be said."""
        return self.reply.started

    def refuse(self, refusal: Refusal) -> None:
        """Tell the caller why the job is not served."""
        self.status, self.reason = refusal.status, refusal.code or refusal.kind.value
        send_refusal(self.reply, refusal, self.told)
