"""An orchestrator over HTTP, as a person reaches it."""

from types import TracebackType
from typing import Any, Self

import click
import httpx2
from pydantic import ValidationError

from stoker_contracts.names import ORCHESTRATOR_PORT
from stoker_contracts.overview import Overview

DEFAULT_URL = f"http://127.0.0.1:{ORCHESTRATOR_PORT}"
_SECONDS = 5.0
"""An orchestrator answers in milliseconds."""
_DOCUMENT = 1
"""The version of the document that is understood here."""
_AWAY = {502, 503, 504}
"""What a proxy answers for somebody who is not there."""
_HOW = f"""\
On a cluster, bring it here:  kubectl --namespace stoker port-forward service/stoker-orchestrator {ORCHESTRATOR_PORT}
On one host, start it:        make demo-local KEEP=1
Elsewhere, say where it is:   stoker status --url http://HOST:{ORCHESTRATOR_PORT}, or STOKER_URL"""


class OrchestratorError(click.ClickException):
    """The orchestrator could not be asked, or its answer is of no use; the message says what to do."""


class AwayError(OrchestratorError):
    """Nobody answers, which may change by itself."""


class Orchestrator:
    """One orchestrator."""

    def __init__(self, url: str, transport: httpx2.BaseTransport | None = None) -> None:
        address = httpx2.URL(url)
        self._place = f"{address.scheme}://{address.netloc.decode()}"  # without the password that a URL may hold
        self._client = httpx2.Client(
            base_url=address, timeout=_SECONDS, transport=transport, headers={"Accept": "application/json"}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def overview(self) -> Overview:
        """Models, workers and lines as they are now. Raises OrchestratorError."""
        answer = self._get("status")
        if answer.status_code == httpx2.codes.NOT_FOUND and "capabilities" in _object(self._get("capabilities")):
            message = f"The orchestrator at {self._place} is too old for this command; its /capabilities tell what is warm."
            raise OrchestratorError(message)
        document = _object(answer)
        if answer.status_code != httpx2.codes.OK or not {"version", "orchestrator", "models"} <= document.keys():
            message = f"What answers at {self._place} is no Stoker orchestrator (HTTP {answer.status_code}).\n\n{_HOW}"
            raise OrchestratorError(message)
        return self._understood(document)

    def _get(self, path: str) -> httpx2.Response:
        try:
            answer = self._client.get(path)
        except httpx2.TransportError as error:
            if "CERTIFICATE" in str(error):
                message = f"The certificate at {self._place} is not one that this host trusts."
                raise OrchestratorError(message) from None
            message = f"Nobody answers at {self._place}.\n\n{_HOW}"
            raise AwayError(message) from None
        if answer.status_code in _AWAY:
            message = f"Behind {self._place} nobody answers (HTTP {answer.status_code}).\n\n{_HOW}"
            raise AwayError(message)
        return answer

    def _understood(self, document: dict[str, Any]) -> Overview:
        message = f"The orchestrator at {self._place} is newer than this command; install the command of its release."
        if document["version"] != _DOCUMENT:
            raise OrchestratorError(message)
        try:
            return Overview.model_validate(document)
        except ValidationError:
            raise OrchestratorError(message) from None


def _object(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON object of an answer; an empty one where there is none."""
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
