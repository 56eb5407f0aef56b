"""Observe, plan, execute, against an API server in memory."""

from typing import Any

import pytest

from stoker_operator.adapters.port import ClusterError, Kind, RefusedError
from stoker_operator.app.reconcile import Reconciler
from stoker_operator.domain.keys import Key, Scope
from stoker_operator.domain.plan import RETRY_SECONDS, UNWATCHED_SECONDS
from tests.support import resources as made
from tests.support.fake_cluster import FakeCluster

MODEL = Key(Scope.MODEL, "m")


def reconciler(cluster: FakeCluster, **defaults: Any) -> Reconciler:
    return Reconciler(cluster, made.release(resources={"cpu": "1000m", "memory": "1024Mi"}, **defaults), clock=lambda: made.NOW)


def ready(cluster: FakeCluster) -> dict[str, Any]:
    conditions = cluster.of(Kind.MODEL_DEPLOYMENT, "m")["status"]["conditions"]
    return dict(next(each for each in conditions if each["type"] == "Ready"))


async def test_a_resource_gets_its_deployment_and_its_status() -> None:
    cluster = FakeCluster(made.resource(warm=True))

    assert await reconciler(cluster).reconcile(MODEL) is None

    assert cluster.writes == ["apply Deployment m", "status m"], "that it begins as expected is no event"
    assert cluster.of(Kind.DEPLOYMENT, "m")["spec"]["replicas"] == 1


async def test_a_second_reconcile_writes_nothing() -> None:
    cluster = FakeCluster(made.resource(warm=True), made.deployment(), made.ready_pod())
    await reconciler(cluster).reconcile(MODEL)
    cluster.writes.clear()

    assert await reconciler(cluster).reconcile(MODEL) is None
    assert cluster.writes == []


async def test_an_edited_child_is_restored_and_what_others_added_stays() -> None:
    cluster = FakeCluster(made.resource(warm=True))
    await reconciler(cluster).reconcile(MODEL)
    child = cluster.of(Kind.DEPLOYMENT, "m")
    child["spec"]["replicas"] = 9
    child["metadata"]["annotations"]["injected"] = "yes"

    await reconciler(cluster).reconcile(MODEL)

    assert child["spec"]["replicas"] == 1
    assert child["metadata"]["annotations"]["injected"] == "yes"


async def test_a_field_that_is_withdrawn_disappears_from_the_child() -> None:
    cluster = FakeCluster(made.resource(pod={"env": [{"name": "STUB_A", "value": "1"}]}))
    await reconciler(cluster).reconcile(MODEL)
    del cluster.of(Kind.MODEL_DEPLOYMENT, "m")["spec"]["pod"]

    await reconciler(cluster).reconcile(MODEL)

    (container,) = cluster.of(Kind.DEPLOYMENT, "m")["spec"]["template"]["spec"]["containers"]
    assert "STUB_A" not in {each["name"] for each in container["env"]}


async def test_the_orchestrators_condition_survives_our_status() -> None:
    advertised = {"type": "Advertised", "status": "True", "reason": "Cold"}
    cluster = FakeCluster(made.resource(status={"conditions": [advertised]}))

    await reconciler(cluster).reconcile(MODEL)

    assert advertised in cluster.of(Kind.MODEL_DEPLOYMENT, "m")["status"]["conditions"]


async def test_a_resource_that_is_gone_needs_nothing() -> None:
    cluster = FakeCluster()

    assert await reconciler(cluster).reconcile(MODEL) is None
    assert cluster.writes == []


async def test_a_deployment_of_somebody_else_is_not_touched() -> None:
    cluster = FakeCluster(made.resource(warm=True), made.deployment(owner=None, labelled=False))

    assert await reconciler(cluster).reconcile(MODEL) == UNWATCHED_SECONDS

    assert "apply Deployment m" not in cluster.writes
    assert ready(cluster)["reason"] == "NotAccepted"


async def test_a_deployment_that_appears_between_look_and_write_is_not_taken_over() -> None:
    class Late(FakeCluster):
        async def apply(self, manifest: dict[str, Any], *, over: str | None) -> None:
            self.put(made.deployment(owner=None, labelled=False))
            await super().apply(manifest, over=over)

    cluster = Late(made.resource(warm=True))

    with pytest.raises(RefusedError, match="409"):
        await reconciler(cluster).reconcile(MODEL)
    assert cluster.of(Kind.DEPLOYMENT, "m")["spec"] == {}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(RefusedError(422, "spec.x: invalid"), "NotAccepted"), (RefusedError(403, "exceeded quota: q"), "QuotaExceeded")],
)
async def test_a_refused_deployment_is_told_in_the_status(refusal: RefusedError, reason: str) -> None:
    cluster = FakeCluster(made.resource(warm=True))
    cluster.refuse[Kind.DEPLOYMENT, "m"] = refusal

    assert await reconciler(cluster).reconcile(MODEL) == RETRY_SECONDS
    assert ready(cluster)["reason"] == reason
    assert refusal.message in ready(cluster)["message"]


async def test_the_claim_with_the_weights_is_looked_at() -> None:
    cluster = FakeCluster(made.resource(weights={"claim": {"name": "models"}}))
    await reconciler(cluster).reconcile(MODEL)
    assert ready(cluster)["reason"] == "WeightsMissing"

    cluster.put({"kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "status": {"phase": "Bound"}})
    await reconciler(cluster).reconcile(MODEL)
    assert ready(cluster)["reason"] == "Startable"


async def test_an_event_that_cannot_be_told_stops_nothing() -> None:
    class Mute(FakeCluster):
        async def record(self, event: dict[str, Any]) -> None:
            raise RefusedError(403, "no")

    cluster = Mute(made.resource(warm=True), made.deployment(), made.ready_pod())
    await reconciler(cluster).reconcile(MODEL)

    assert ready(cluster)["reason"] == "Serving"


async def test_an_api_server_that_is_away_is_an_error_for_the_queue() -> None:
    cluster = FakeCluster(made.resource())
    cluster.broken = True

    with pytest.raises(ClusterError):
        await reconciler(cluster).reconcile(MODEL)


async def test_two_operators_reach_the_same_end_and_tell_each_event_once() -> None:
    cluster = FakeCluster(made.resource(warm=True), made.ready_pod())
    first, second = reconciler(cluster), reconciler(cluster)
    for each in (first, second, first, second):
        await each.reconcile(MODEL)
    cluster.writes.clear()

    await first.reconcile(MODEL)
    await second.reconcile(MODEL)

    assert cluster.writes == []
    assert [each["reason"] for each in cluster.events.values()] == ["Serving"]
