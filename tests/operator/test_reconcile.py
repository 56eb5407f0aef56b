"""Observe, plan, execute, against an API server in memory."""

import asyncio
import json
from typing import Any

import pytest

from stoker_operator.adapters.port import ClusterError, Kind, RefusedError
from stoker_operator.app.reconcile import Reconciler
from stoker_operator.app.side_by_side import AT_ONCE
from stoker_operator.domain.keys import CONFIGS, Key, Scope
from stoker_operator.domain.plan import RETRY_SECONDS, UNWATCHED_SECONDS
from tests.support import resources as made
from tests.support.fake_cluster import FakeCluster

MODEL = Key(Scope.MODEL, "m")


def reconciler(cluster: FakeCluster, **defaults: Any) -> Reconciler:
    return Reconciler(cluster, made.release(resources={"cpu": "1000m", "memory": "1024Mi"}, **defaults), clock=lambda: made.NOW)


def models_config(*entries: dict[str, Any], name: str = "models") -> dict[str, Any]:
    labels = {"stoker.dev/models-config": "true"}
    return {"kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"aiModels.json": json.dumps(entries)}}


def entry(model_id: str = "org/a", **others: Any) -> dict[str, Any]:
    return {"pipeline": "text-to-image", "model_id": model_id} | others


def report(cluster: FakeCluster, name: str = "models-report") -> list[dict[str, Any]]:
    return list(json.loads(cluster.of(Kind.CONFIG_MAP, name)["data"]["report.json"])["entries"])


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


async def test_a_models_config_makes_changes_and_removes_resources() -> None:
    cluster = FakeCluster(models_config(entry(), entry("org/b")))
    await reconciler(cluster).reconcile(CONFIGS)
    assert {name for kind, name in cluster.objects if kind == Kind.MODEL_DEPLOYMENT} == {"t2i-org-a", "t2i-org-b"}

    cluster.of(Kind.MODEL_DEPLOYMENT, "t2i-org-a")["spec"]["replicas"] = 3
    cluster.of(Kind.CONFIG_MAP, "models")["data"]["aiModels.json"] = json.dumps([entry(warm=True)])
    await reconciler(cluster).reconcile(CONFIGS)

    assert {name for kind, name in cluster.objects if kind == Kind.MODEL_DEPLOYMENT} == {"t2i-org-a"}
    spec = cluster.of(Kind.MODEL_DEPLOYMENT, "t2i-org-a")["spec"]
    assert (spec["warm"], spec["replicas"]) == (True, 3)


async def test_a_second_look_at_models_configs_writes_nothing() -> None:
    cluster = FakeCluster(models_config(entry(), {"pipeline": "nope"}))
    await reconciler(cluster).reconcile(CONFIGS)
    cluster.writes.clear()

    assert await reconciler(cluster).reconcile(CONFIGS) is None
    assert cluster.writes == []


async def test_an_entry_that_the_api_server_refuses_is_reported_and_its_neighbours_live() -> None:
    cluster = FakeCluster(models_config(entry(), entry("org/b")))
    cluster.refuse[Kind.MODEL_DEPLOYMENT, "t2i-org-a"] = RefusedError(422, "spec.price.currency: too long")

    await reconciler(cluster).reconcile(CONFIGS)

    assert [each["accepted"] for each in report(cluster)] == [False, True]
    assert report(cluster)[0]["reason"] == "Refused"
    assert "too long" in report(cluster)[0]["message"]
    assert [each["reason"] for each in cluster.events.values()] == ["Refused"]


async def test_a_report_that_lost_its_owner_is_written_again_and_belongs_to_its_config() -> None:
    cluster = FakeCluster(models_config(entry()))
    await reconciler(cluster).reconcile(CONFIGS)
    del cluster.of(Kind.CONFIG_MAP, "models-report")["metadata"]["ownerReferences"]
    cluster.of(Kind.CONFIG_MAP, "models")["data"]["aiModels.json"] = json.dumps([{"pipeline": "nope"}])

    await reconciler(cluster).reconcile(CONFIGS)

    assert [each["accepted"] for each in report(cluster)] == [False]
    assert cluster.of(Kind.CONFIG_MAP, "models-report")["metadata"]["ownerReferences"][0]["name"] == "models"


async def test_where_the_reports_name_is_taken_events_tell_what_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    taken = {"kind": "ConfigMap", "metadata": {"name": "models-report"}, "data": {"mine": "x"}}
    cluster = FakeCluster(models_config({"pipeline": "nope"}), taken)

    await reconciler(cluster).reconcile(CONFIGS)

    assert [each["reason"] for each in cluster.events.values()] == ["UnknownPipeline"]
    assert cluster.of(Kind.CONFIG_MAP, "models-report")["data"] == {"mine": "x"}
    assert "models-report is somebody else's" in caplog.text


async def test_a_name_that_is_taken_is_reported_until_its_resource_is_gone_which_a_watch_tells() -> None:
    cluster = FakeCluster(models_config(entry()), made.resource("t2i-org-a"))

    assert await reconciler(cluster).reconcile(CONFIGS) is None
    assert report(cluster)[0]["reason"] == "NameTaken"

    cluster.remove(Kind.MODEL_DEPLOYMENT, "t2i-org-a")
    await reconciler(cluster).reconcile(CONFIGS)
    assert report(cluster)[0]["accepted"]


async def test_a_large_models_config_is_applied_several_entries_at_a_time_and_not_all_at_once() -> None:
    class Slow(FakeCluster):
        under_way = most = 0

        async def apply(self, manifest: dict[str, Any], *, over: str | None) -> None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0)
            await super().apply(manifest, over=over)
            self.under_way -= 1

    cluster = Slow(models_config(*(entry(f"org/{number}") for number in range(50))))
    await reconciler(cluster).reconcile(CONFIGS)

    assert cluster.most == AT_ONCE
    assert sum(kind == Kind.MODEL_DEPLOYMENT for kind, _ in cluster.objects) == 50


async def test_an_api_server_that_goes_away_amid_the_entries_is_not_asked_for_the_rest() -> None:
    class Away(FakeCluster):
        asked = 0

        async def apply(self, manifest: dict[str, Any], *, over: str | None) -> None:
            self.asked += 1
            await asyncio.sleep(0)
            self.broken = True
            await super().apply(manifest, over=over)

    cluster = Away(models_config(*(entry(f"org/{number}") for number in range(50))))
    with pytest.raises(ClusterError, match="cannot be reached"):
        await reconciler(cluster).reconcile(CONFIGS)

    assert cluster.asked <= 2 * AT_ONCE


async def test_a_conflict_with_another_writer_is_tried_again() -> None:
    cluster = FakeCluster(models_config(entry()))
    cluster.refuse[Kind.MODEL_DEPLOYMENT, "t2i-org-a"] = RefusedError(409, "conflict")

    with pytest.raises(RefusedError):
        await reconciler(cluster).reconcile(CONFIGS)


async def test_a_deleted_config_takes_its_report_and_its_resources_along() -> None:
    cluster = FakeCluster(models_config(entry()))
    await reconciler(cluster).reconcile(CONFIGS)

    cluster.remove(Kind.CONFIG_MAP, "models")

    assert cluster.objects == {}


async def test_a_config_on_its_way_out_gets_no_report() -> None:
    leaving = models_config(entry())
    leaving["metadata"]["deletionTimestamp"] = made.AT_NOW
    cluster = FakeCluster(leaving)

    await reconciler(cluster).reconcile(CONFIGS)

    assert cluster.writes == []
