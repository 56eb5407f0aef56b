"""What a container's answers say of it, and what that means for its model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_contracts.resources.conditions import Reason
from stoker_contracts.resources.endpoints import EndpointPhase
from stoker_orchestrator.domain.health import UNSEEN, WELL, Health, after, answered, down, obstacle, refused, reports, unanswered
from stoker_orchestrator.domain.model import EndpointState, Url

URL = Url("https://host/base", 1, "my-provider")
SILENT = unanswered("nothing came for 4 s", silent=True)
REFUSED = unanswered("connection refused")


LOADED: list[bytes] = [b'{"status":"OK"}', b'{"status":"IDLE"}', b'{"status":"healthy"}', b'{"status":7}']


@pytest.mark.parametrize(
    "body",
    [
        *LOADED,
        b'{"status":"OK"}',
        b'{"status":"IDLE"}',
        b"ok",
        b"",
        b"[]",
        b"{}",
        b'{"status":"healthy"}',
        b'{"status":7}',
        b"\xff",
        b"[" * 4000,
    ],
)
def test_a_2xx_that_says_nothing_else_is_a_container_that_takes_jobs(body: bytes) -> None:
    assert answered(200, body, URL) == WELL
    assert WELL.state is EndpointState.READY


@pytest.mark.parametrize(
    ("status", "body", "phase", "reason", "words"),
    [
        (200, b'{"status":"LOADING"}', EndpointPhase.LOADING, Reason.LOADING, "loads its model"),
        (200, b'{"status":"ERROR"}', EndpointPhase.DOWN, Reason.UNHEALTHY, "in error"),
        (401, b"", EndpointPhase.DOWN, Reason.TOKEN_REFUSED, "refuses the token (401); look at the key my-provider"),
        (403, b"", EndpointPhase.DOWN, Reason.TOKEN_REFUSED, "refuses the token (403); look at the key my-provider"),
        (302, b"", EndpointPhase.DOWN, Reason.UNHEALTHY, "redirects elsewhere (302)"),
        (404, b"", EndpointPhase.DOWN, Reason.UNHEALTHY, "answers 404"),
        (500, b'{"status":"OK"}', EndpointPhase.DOWN, Reason.UNHEALTHY, "answers 500"),
    ],
)
def test_everything_else_says_why_it_takes_none(status: int, body: bytes, phase: EndpointPhase, reason: Reason, words: str) -> None:
    health = answered(status, body, URL)

    assert (health.phase, health.reason, health.state) == (phase, reason, EndpointState.STARTING)
    assert words in health.words


def test_a_container_that_asks_for_a_token_where_none_is_named_says_so() -> None:
    assert answered(401, b"", Url("http://host")).words == "asks for a token (401) and none is named; name its tokenKey"
    assert "the token of its entry" in answered(401, b"", Url("http://host", token="t")).words


@pytest.mark.parametrize("silence", [SILENT, answered(504, b"", URL), answered(503, b"", URL), answered(502, b"", URL)])
def test_silence_while_a_job_of_ours_runs_there_is_not_death_and_without_one_it_is(silence: Health) -> None:
    assert after(WELL, silence, busy=True) == WELL
    assert after(WELL, silence, busy=False) == silence
    assert after(REFUSED, silence, busy=True) == REFUSED, "nor is it life"


@pytest.mark.parametrize("found", [REFUSED, answered(200, b'{"status":"ERROR"}', URL), answered(401, b"", URL), WELL])
def test_what_is_said_counts_whatever_runs_there(found: Health) -> None:
    assert after(WELL, found, busy=True) == found


def test_a_model_is_hopeless_once_each_container_is_down_for_good_or_for_longer_than_a_job_may_wait() -> None:
    barred = answered(401, b"", URL)

    assert obstacle([barred, REFUSED], [0.0, 0.0], 59.0, 60.0) is None
    found = obstacle([barred, REFUSED], [50.0, 0.0], 61.0, 60.0)
    assert found is not None
    assert found.reason == "TokenRefused"
    assert found.message == (
        "endpoint 1 of 2 refuses the token (401); look at the key my-provider; endpoint 2 of 2 does not answer (connection refused)"
    )


@pytest.mark.parametrize("other", [WELL, UNSEEN, answered(200, b'{"status":"LOADING"}', URL)])
def test_one_container_that_serves_or_may_soon_leaves_hope(other: Health) -> None:
    assert obstacle([answered(401, b"", URL), other], [0.0, 0.0], 1e9, 1.0) is None


def test_reports_are_numbered_as_people_count_and_say_nothing_of_what_is_well() -> None:
    told = reports([WELL, down(Reason.UNHEALTHY, "is out of order")])

    assert [(each.phase, each.message) for each in told] == [("Ready", ""), ("Down", "endpoint 2 of 2 is out of order")]


answers = st.tuples(st.integers(200, 599), st.binary(max_size=64) | st.sampled_from([b'{"status":"LOADING"}', b'{"status":"OK"}']))


@given(st.lists(st.tuples(answers, st.booleans()), max_size=20))
def test_whatever_it_answers_a_container_takes_jobs_only_by_a_2xx_of_its_own(looks: list[tuple[Any, bool]]) -> None:
    health, said_well = UNSEEN, False
    for (status, body), busy in looks:
        found = answered(status, body, URL)
        health = after(health, found, busy=busy)
        said_well = found == WELL or (said_well and health != found)
        assert (health.state is EndpointState.READY) == said_well
        assert "host" not in health.words


secrets_of_a_url = st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=20)


@given(answers, st.lists(st.tuples(secrets_of_a_url, secrets_of_a_url), min_size=1, max_size=4))
def test_no_words_hold_an_address_or_a_token_whatever_a_container_answers(
    answer: tuple[int, bytes], places: list[tuple[str, str]]
) -> None:
    urls = [Url(f"https://{host}/{host}", 1, None, f"t-{token}") for host, token in places]
    healths = [answered(answer[0], answer[1], url) for url in urls] + [refused(answer[0], url) for url in urls]
    found = obstacle(healths, [0.0] * len(healths), 10.0, 1.0)
    words = [each.message for each in reports(healths)] + [each.words for each in healths] + [found.message if found else ""]

    assert not [secret for place in places for secret in place for each in words if secret in each]
    assert not [url for url in urls if url.token in repr(url)]
