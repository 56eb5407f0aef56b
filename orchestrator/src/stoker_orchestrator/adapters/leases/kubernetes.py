"""A Lease of ``coordination.k8s.io/v1``. Two annotations tell the others how to reach the holder."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import lightkube
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType

from stoker_contracts import names
from stoker_orchestrator.adapters.leases.port import LeaseError
from stoker_orchestrator.domain.election import DURATION_SECONDS, Candidate, Seen, Write

CALL_SECONDS = 4.0
"""Less than half of the time for which the Lease is held, so that a lost call costs nobody the lead."""


class KubernetesLease:
    """The Lease of this name in the client's namespace."""

    def __init__(self, client: lightkube.AsyncClient, name: str) -> None:
        self._client = client
        self._name = name

    @classmethod
    def connect(cls, namespace: str, kubeconfig: Path | None, name: str) -> "KubernetesLease":
        """The Lease at the API server that `kubeconfig` names, or the pod's own."""
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account()
        return cls(lightkube.AsyncClient(config=config, namespace=namespace, timeout=httpx2.Timeout(CALL_SECONDS)), name)

    async def read(self) -> Seen:
        """The Lease as it is now. Raises LeaseError."""
        lease = await _answer(self._client.get(Lease, self._name), none=httpx2.codes.NOT_FOUND)
        return Seen() if lease is None else _seen(lease)

    async def write(self, write: Write) -> Seen | None:
        """Change the Lease if it has the version that `write` names; None where it has another one. Raises LeaseError."""
        if not write.version:
            made = Lease(metadata=ObjectMeta(name=self._name, annotations=_annotations(write)), spec=LeaseSpec(**_spec(write)))
            lease = await _answer(self._client.create(made), none=httpx2.codes.CONFLICT)
        else:
            metadata = {"resourceVersion": write.version, "annotations": _annotations(write)}
            spec = {key: _stamp(value) if isinstance(value, datetime) else value for key, value in _spec(write).items()}
            patch = {"metadata": metadata, "spec": spec}
            call = self._client.patch(Lease, self._name, patch, patch_type=PatchType.MERGE)
            lease = await _answer(call, none=httpx2.codes.CONFLICT)
        return None if lease is None else _seen(lease)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def _answer(call: Awaitable[Lease], none: int) -> Lease | None:
    """What the API server answered; None where it answered with this status, or that there is no such Lease."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await call
    except ApiError as error:
        if error.status.code in (none, httpx2.codes.NOT_FOUND):
            return None
        message = f"the API server answered {error.status.code} {error.status.reason}"
        raise LeaseError(message) from error
    except (httpx2.HTTPError, TimeoutError) as error:
        message = f"the API server cannot be reached: {type(error).__name__}"
        raise LeaseError(message) from error


def _annotations(write: Write) -> dict[str, str]:
    address, token = (write.holder.address, write.holder.token) if write.holder else ("", "")
    return {names.ANNOTATION_PEER_ADDRESS: address, names.ANNOTATION_PEER_TOKEN: token}


def _spec(write: Write) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "holderIdentity": write.holder.identity if write.holder else "",
        "leaseDurationSeconds": round(DURATION_SECONDS) if write.holder else 1,
        "renewTime": now,
        "leaseTransitions": write.changes,
    }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seen(lease: Lease) -> Seen:
    spec, metadata = lease.spec or LeaseSpec(), lease.metadata or ObjectMeta()
    told = metadata.annotations or {}
    holder = None
    if spec.holderIdentity:
        address, token = told.get(names.ANNOTATION_PEER_ADDRESS, ""), told.get(names.ANNOTATION_PEER_TOKEN, "")
        holder = Candidate(spec.holderIdentity, address, token)
    renewed = spec.renewTime.isoformat() if spec.renewTime else ""
    return Seen(holder, renewed, spec.leaseTransitions or 0, metadata.resourceVersion or "")
