"""The Lease by which orchestrators choose who leads: a real API server, and the rights that the chart gives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stoker_orchestrator.adapters.leases.kubernetes import KubernetesLease
from stoker_orchestrator.adapters.leases.port import LeaseError
from stoker_orchestrator.domain.election import Candidate, Seen, Write
from tests.support.followed import Cluster, line

pytestmark = pytest.mark.api

NAME = "stoker-orchestrator"
A, B = Candidate("a/1", "10.0.0.1:8936", "token-a"), Candidate("b/1", "[fd00::2]:8936", "token-b")


@asynccontextmanager
async def store(cluster: Cluster, kubeconfig: Path | None = None, name: str = NAME) -> AsyncIterator[KubernetesLease]:
    made = KubernetesLease.connect(cluster.namespace, kubeconfig or cluster.tier.kubeconfig("orchestrator"), name)
    try:
        yield made
    finally:
        await made.close()


async def test_a_lease_that_is_not_there_is_made_by_one_of_two(cluster: Cluster) -> None:
    async with store(cluster) as one, store(cluster) as two:
        assert await one.read() == Seen()
        made = await asyncio.gather(one.write(Write(A, 1, "")), two.write(Write(B, 1, "")))

        (winner,) = [each for each in made if each is not None]
        assert winner.holder in (A, B)
        assert (await one.read(), await two.read()) == (winner, winner)


async def test_of_two_who_saw_the_same_lease_one_may_change_it(cluster: Cluster) -> None:
    async with store(cluster) as one, store(cluster) as two:
        first = await one.write(Write(A, 1, ""))
        assert first is not None
        made = await asyncio.gather(*(each.write(Write(B, 2, first.version)) for each in (one, two)))
        assert sum(each is not None for each in made) == 1


async def test_each_renewal_is_seen_and_a_released_lease_tells_no_secret(cluster: Cluster) -> None:
    async with store(cluster) as one:
        first = await one.write(Write(A, 1, ""))
        assert first is not None
        second = await one.write(Write(A, 1, first.version))
        assert second is not None
        assert (second.holder, second.changes) == (A, 1)
        assert second.renewed != first.renewed

        released = await one.write(Write(None, 1, second.version))
        assert released is not None
        assert (released.holder, released.changes) == (None, 1)
        assert "token-a" not in await cluster.kubectl("get", "lease", NAME, "-o", "json")
        assert await cluster.kubectl("get", "lease", NAME, "-o", "jsonpath={.spec.leaseDurationSeconds}") == "1"


async def test_a_lease_that_somebody_deleted_is_a_conflict_and_then_made_anew(cluster: Cluster) -> None:
    async with store(cluster) as one:
        first = await one.write(Write(A, 1, ""))
        assert first is not None
        await cluster.kubectl("delete", "lease", NAME)
        assert await one.write(Write(A, 1, first.version)) is None
        assert await one.read() == Seen()
        assert await one.write(Write(A, 1, "")) is not None


async def test_no_other_lease_may_be_touched(cluster: Cluster) -> None:
    await cluster.kubectl("create", "-f", "-", text_in="{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: other}}")
    async with store(cluster, name="other") as one:
        with pytest.raises(LeaseError, match="403"):
            await one.read()
        with pytest.raises(LeaseError, match="403"):
            await one.write(Write(A, 1, "1"))


async def test_a_server_that_is_away_is_said_so_in_words(cluster: Cluster, tmp_path: Path) -> None:
    async with line(cluster, tmp_path) as (way, kubeconfig), store(cluster, kubeconfig) as one:
        first = await one.write(Write(A, 1, ""))
        assert first is not None
        way.cut()
        with pytest.raises(LeaseError, match="cannot be reached"):
            await one.read()
        await way.mend()
        assert await one.read() == first
