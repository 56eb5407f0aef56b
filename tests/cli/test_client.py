"""What a person is told where no Stoker orchestrator answers, or not one that this command understands."""

from typing import Any

import httpx2
import pytest

from stoker_cli.client import AwayError, Orchestrator, OrchestratorError

EMPTY = {
    "version": 1,
    "orchestrator": {"name": "o", "version": "1", "leading": True, "synced": True, "blind_seconds": None},
    "models": [],
}
NO_ROUTE = httpx2.Response(404, json={"detail": {"msg": "there is no such route"}})


def asked(**answers: httpx2.Response | Exception) -> OrchestratorError:
    """What goes wrong with a site that gives these answers, by path; everything else is not found there."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = answers.get(request.url.path.strip("/"), NO_ROUTE)
        if isinstance(found, Exception):
            raise found
        return found

    with Orchestrator("http://o:1", httpx2.MockTransport(answer)) as orchestrator, pytest.raises(OrchestratorError) as caught:
        orchestrator.overview()
    return caught.value


@pytest.mark.parametrize(
    "status",
    [
        httpx2.Response(200, text="<html>hello</html>"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={"status": "ok"}),
        httpx2.Response(302, headers={"location": "/login"}),
        httpx2.Response(500, text="oops"),
        NO_ROUTE,
    ],
)
def test_a_site_that_is_something_else_is_called_so(status: httpx2.Response) -> None:
    assert "is no Stoker orchestrator (HTTP " in str(asked(status=status))


def test_an_orchestrator_without_the_document_is_too_old() -> None:
    capabilities = httpx2.Response(200, json={"version": 1, "orchestrator": "o", "generation": 1, "capabilities": []})

    assert "too old for this command" in str(asked(capabilities=capabilities))


@pytest.mark.parametrize("change", [{"version": 2}, {"models": [{"state": "dreaming"}]}])
def test_a_document_of_a_later_release_is_not_guessed_at(change: dict[str, Any]) -> None:
    assert "newer than this command" in str(asked(status=httpx2.Response(200, json=EMPTY | change)))


def test_a_document_with_more_fields_than_are_known_is_read() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=EMPTY | {"weather": "fair"})

    with Orchestrator("http://o:1/base", httpx2.MockTransport(answer)) as orchestrator:
        assert orchestrator.overview().orchestrator.name == "o"


@pytest.mark.parametrize("status", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("late"), httpx2.Response(503)])
def test_who_does_not_answer_may_come_back(status: httpx2.Response | Exception) -> None:
    assert isinstance(asked(status=status), AwayError)


def test_a_certificate_that_is_not_trusted_is_called_so() -> None:
    refused = httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")

    assert "certificate at http://o:1" in str(asked(status=refused))


def test_the_path_of_a_url_stands_before_the_documents() -> None:
    asked_for: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked_for.append(request.url.path)
        return httpx2.Response(200, json=EMPTY)

    for url in ("http://o:1/base", "http://o:1/base/", "http://o:1"):
        with Orchestrator(url, httpx2.MockTransport(answer)) as orchestrator:
            orchestrator.overview()

    assert asked_for == ["/base/status", "/base/status", "/status"]
