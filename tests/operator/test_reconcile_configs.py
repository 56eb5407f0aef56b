"""Models configs observed and carried out, against an API server in memory."""

import asyncio
import json
from typing import Any

import pytest

from stoker_operator.adapters.port import ClusterError, Kind, RefusedError
from stoker_operator.app.side_by_side import AT_ONCE
from stoker_operator.domain.keys import CONFIGS
from tests.operator.test_reconcile import reconciler
from tests.support import resources as made
from tests.support.fake_cluster import FakeCluster


def models_config(*entries: dict[str, Any], name: str = "models") -> dict[str, Any]:
    labels = {"stoker.dev/models-config": "true"}
    return {"kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"aiModels.json": json.dumps(entries)}}


def entry(model_id: str = "org/a", **others: Any) -> dict[str, Any]:
    return {"pipeline": "text-to-image", "model_id": model_id} | others


def report(cluster: FakeCluster, name: str = "models-report") -> list[dict[str, Any]]:
    return list(json.loads(cluster.of(Kind.CONFIG_MAP, name)["data"]["report.json"])["entries"])


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
