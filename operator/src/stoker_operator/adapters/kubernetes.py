"""The Kubernetes API by lightkube: the only module that imports a client."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import lightkube
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import GenericNamespacedResource, create_api_info, create_namespaced_resource
from lightkube.types import PatchType

from stoker_contracts import names
from stoker_operator.adapters.port import ClusterError, Json, Kind, RefusedError


def _plain_resource(group: str, version: str, kind: str, plural: str) -> Any:
    """A kind whose objects stay the dictionaries that the API server sent, fields of newer versions included."""
    return type(kind, (GenericNamespacedResource,), {"_api_info": create_api_info(group, version, kind, plural)})


REQUEST_SECONDS = 15.0
_PAGE = 500
_NOT_FOUND, _CONFLICT, _TOO_MANY, _SERVER_ERROR = 404, 409, 429, 500
_RESOURCES: dict[Kind, Any] = {
    Kind.MODEL_DEPLOYMENT: create_namespaced_resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL),
    Kind.DEPLOYMENT: _plain_resource("apps", "v1", "Deployment", "deployments"),
    Kind.POD: _plain_resource("", "v1", "Pod", "pods"),
    Kind.CONFIG_MAP: _plain_resource("", "v1", "ConfigMap", "configmaps"),
    Kind.CLAIM: _plain_resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Kind.EVENT: _plain_resource("", "v1", "Event", "events"),
}


class Kubernetes:
    """One namespace of an API server."""

    def __init__(self, client: lightkube.AsyncClient) -> None:
        self._client = client

    @classmethod
    def connect(cls, namespace: str, kubeconfig: Path | None) -> "Kubernetes":
        """The API server that `kubeconfig` names, or the pod's own."""
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account()
        timeout = httpx2.Timeout(REQUEST_SECONDS)
        return cls(lightkube.AsyncClient(config=config, namespace=namespace, timeout=timeout, trust_env=False))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(self, kind: Kind, name: str) -> Json | None:
        """One object; None where there is none. Raises ClusterError."""
        try:
            async with _translated():
                return _plain(await self._client.get(_RESOURCES[kind], name))
        except RefusedError as refused:
            if refused.code == _NOT_FOUND:
                return None
            raise ClusterError(str(refused)) from refused

    async def list(self, kind: Kind, labels: Mapping[str, str] | None = None) -> list[Json]:
        """All objects with these labels. Raises ClusterError."""
        try:
            async with _translated():
                found = self._client.list(_RESOURCES[kind], labels=dict(labels) if labels else None, chunk_size=_PAGE)
                return [_plain(item) async for item in found]
        except RefusedError as refused:
            raise ClusterError(str(refused)) from refused

    async def apply(self, manifest: Json, *, over: str | None) -> None:
        """Server-side apply over the object with this uid; None: only as a new one. Raises ClusterError and RefusedError.

        Without force the API server answers 409 when somebody else made the object a moment ago and it differs.
        """
        metadata = manifest["metadata"] | ({"uid": over} if over else {})
        await self._apply(_RESOURCES[Kind(manifest["kind"])], manifest | {"metadata": metadata}, force=over is not None)

    async def apply_status(self, manifest: Json) -> None:
        """Server-side apply of a status. An object that is gone needs none. Raises ClusterError and RefusedError."""
        try:
            await self._apply(_RESOURCES[Kind(manifest["kind"])].Status, manifest, force=True)
        except RefusedError as refused:
            if refused.code != _NOT_FOUND:
                raise

    async def _apply(self, resource: Any, manifest: Json, *, force: bool) -> None:
        name, manager = manifest["metadata"]["name"], names.FIELD_MANAGER_OPERATOR
        async with _translated():
            await self._client.patch(resource, name, manifest, patch_type=PatchType.APPLY, field_manager=manager, force=force)

    async def delete(self, kind: Kind, name: str, uid: str, resource_version: str) -> None:
        """Delete the object if it still is this one in this version; else leave it. Raises ClusterError and RefusedError."""
        inner: Any = self._client._client  # noqa: SLF001 - lightkube's public delete takes no preconditions
        request = inner.prepare_request("delete", _RESOURCES[kind], name=name)
        request.data = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        try:
            async with _translated():
                inner.raise_for_status(await inner.send(inner.build_adapter_request(request)))
        except RefusedError as refused:
            if refused.code not in (_NOT_FOUND, _CONFLICT):
                raise

    async def record(self, event: Json) -> None:
        """Create an Event, unless it is there. Raises ClusterError and RefusedError."""
        try:
            async with _translated():
                await self._client.create(_RESOURCES[Kind.EVENT](event))
        except RefusedError as refused:
            if refused.code != _CONFLICT:
                raise


def _plain(item: Any) -> Json:
    return dict(item.to_dict())


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except ApiError as error:
        code, words = int(error.status.code or 0), error.status.message or error.status.reason or "no reason told"
        if code == _TOO_MANY or code >= _SERVER_ERROR or code == 0:
            message = f"the API server answered {code}: {words}"
            raise ClusterError(message) from error
        raise RefusedError(code, words) from error
    except httpx2.HTTPStatusError as error:
        message = f"the API server, or what stands before it, answered {error.response.status_code}"
        raise ClusterError(message) from error
    except (httpx2.HTTPError, OSError) as error:
        message = f"the API server cannot be reached ({type(error).__name__})"
        raise ClusterError(message) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # lightkube takes every answer for an API server's own
        message = "the API server, or what stands before it, gave an answer that cannot be read"
        raise ClusterError(message) from error
