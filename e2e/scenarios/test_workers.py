"""Workers that come and go: what is advertised follows, and jobs go where they are served."""

from collections.abc import Iterator
from importlib.metadata import version

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.processes import resumed, signal_pod
from e2e.scenarios.resources import advertised, condition, model_deployment, offers, pods, ready, row, send
from e2e.scenarios.traffic import Background, busy_pod
from tests.support.waiting import eventually


@pytest.fixture
def warm(stub: Release, http: httpx2.Client) -> Iterator[str]:
    """A hand-written warm resource."""
    stub.apply(model_deployment("steady", warm=True))
    eventually(lambda: offers(http).get("org/steady"), seconds=60)
    yield "steady"
    stub.delete(RESOURCES, "steady")


def test_a_hand_written_resource_becomes_a_warm_model_that_serves(stub: Release, http: httpx2.Client, warm: str) -> None:
    answer = send(http, "org/steady")

    assert answer.status_code == httpx2.codes.OK, answer.text
    assert answer.headers["Stoker-Model"] == warm
    eventually(lambda: condition(stub, warm, "Warm")[0] == "True")
    eventually(lambda: condition(stub, warm, "Advertised")[:2] == ("True", "Warm"))
    assert row(stub, warm).split()[:6] == ["steady", "text-to-image", "org/steady", "1/1", "True", "Serving"]
    eventually(lambda: advertised(http)["org/steady"]["runner_version"] == version("stoker-worker"))


def test_a_worker_that_hangs_leaves_the_capabilities_and_comes_back(stub: Release, http: httpx2.Client, warm: str) -> None:
    worker = pods(stub, warm)[0]["metadata"]["name"]

    with resumed(stub, worker):
        signal_pod(stub, worker, "STOP")
        eventually(lambda: offers(http).get("org/steady") is False, seconds=60)

    eventually(lambda: offers(http).get("org/steady") is True, seconds=60)
    assert send(http, "org/steady").status_code == httpx2.codes.OK


def test_a_deleted_worker_is_replaced_and_jobs_wait_for_the_new_one(stub: Release, http: httpx2.Client, warm: str) -> None:
    before = pods(stub, warm)[0]["metadata"]["name"]

    stub.delete("pod", before, "--wait=false")
    answer = send(http, "org/steady")

    assert answer.status_code == httpx2.codes.OK, answer.text
    assert not answer.headers["Stoker-Worker"].startswith(before)
    assert [pod["metadata"]["name"] for pod in eventually(lambda: pods(stub, warm))] != [before]


def test_a_worker_killed_in_the_middle_of_a_job_costs_a_second_try_not_the_job(stub: Release, http: httpx2.Client) -> None:
    stub.apply(model_deployment("pair", replicas=2, scaling={"mode": "Manual", "maxReplicas": 2}, script={"step_seconds": 0.5}))
    eventually(lambda: len([pod for pod in pods(stub, "pair") if ready(pod)]) == 2, seconds=60)
    eventually(lambda: offers(http).get("org/pair"))
    with httpx2.Client(base_url=stub.url, timeout=60) as caller:
        job = Background(caller, "org/pair", num_inference_steps=6)
        victim = eventually(lambda: busy_pod(stub, "pair"))

        signal_pod(stub, victim, "KILL")
        answer = job.answer()

    assert answer.status_code == httpx2.codes.OK, answer.text
    assert not answer.headers["Stoker-Worker"].startswith(f"{victim}.")
    stub.delete(RESOURCES, "pair")


def test_the_first_job_of_a_cold_model_starts_it_and_is_served(stub: Release, http: httpx2.Client) -> None:
    stub.apply(model_deployment("sleeper", script={"load_seconds": 1}))
    eventually(lambda: offers(http).get("org/sleeper") is False)
    assert pods(stub, "sleeper") == []

    answer = send(http, "org/sleeper")

    assert answer.status_code == httpx2.codes.OK, answer.text
    assert answer.headers["Stoker-Cold-Start"] == "true"
    assert len(pods(stub, "sleeper")) == 1
    stub.delete(RESOURCES, "sleeper")


def test_a_deleted_resource_takes_everything_of_it_away(stub: Release, http: httpx2.Client) -> None:
    stub.apply(model_deployment("brief", warm=True))
    eventually(lambda: offers(http).get("org/brief"), seconds=60)

    stub.delete(RESOURCES, "brief")

    eventually(lambda: "org/brief" not in offers(http))
    eventually(lambda: not stub.list("pods,deployments,replicasets", "stoker.dev/model-deployment=brief"), seconds=60)
    assert send(http, "org/brief").status_code == httpx2.codes.NOT_FOUND


def test_a_worker_deleted_while_it_starts_is_gone_at_once(stub: Release) -> None:
    stub.apply(model_deployment("hasty", warm=True, script={"load_seconds": 1}))
    worker = eventually(lambda: started(stub, "hasty"), every=0.01)

    stub.delete("pod", worker, "--wait=false")

    eventually(lambda: stub.get("pod", worker) is None)
    stub.delete(RESOURCES, "hasty")


def started(release: Release, name: str) -> str:
    """The worker pod of `name` whose container has just been started; empty before that."""
    for pod in pods(release, name):
        if any("running" in each["state"] for each in pod["status"].get("containerStatuses", [])):
            return str(pod["metadata"]["name"])
    return ""
