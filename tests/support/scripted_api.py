"""An API server that only lists and watches, and tells its watchers what a test has written down."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

Json = dict[str, Any]

_GROUPS = {
    "": ["pods", "configmaps", "namespaces", "events"],
    "apps": ["deployments"],
    "stoker.dev": ["modeldeployments"],
    "apiextensions.k8s.io": ["customresourcedefinitions"],
}
_VERSIONS = {"": "v1", "apps": "v1", "stoker.dev": "v1alpha1", "apiextensions.k8s.io": "v1"}


class ScriptedApi:
    """`lives` holds for each watch of ModelDeployments the raw lines that it is sent; then it stays open."""

    def __init__(self, *lives: list[bytes]) -> None:
        self.lives = list(lives)
        self.queries: dict[str, dict[str, str]] = {}
        self.lists = 0
        self.kubeconfig = Path()

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator["ScriptedApi"]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(kubeconfig_for(runner.addresses[0][1])))
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if "namespaces" not in parts:
            return web.json_response(_discovery(parts))
        if "watch" in request.query:
            return await self._watch(request, parts[-1])
        self.lists += parts[-1] == "modeldeployments"
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        self.queries[plural] = dict(request.query)
        response = web.StreamResponse()
        await response.prepare(request)
        for line in self.lives.pop(0) if plural == "modeldeployments" and self.lives else []:
            await response.write(line)
        await asyncio.Event().wait()
        return response


def _discovery(parts: list[str]) -> Json:
    if parts == ["api"]:
        return {"versions": ["v1"]}
    if parts == ["apis"]:
        named = [
            (group, {"version": _VERSIONS[group], "groupVersion": f"{group}/{_VERSIONS[group]}"}) for group in _GROUPS if group
        ]
        return {"groups": [{"name": name, "versions": [version], "preferredVersion": version} for name, version in named]}
    group = parts[1] if parts[0] == "apis" else ""
    return {"resources": [_resource(plural) for plural in _GROUPS[group]]}


def _resource(plural: str) -> Json:
    singular = plural.removesuffix("s")
    verbs = ["list", "watch", "patch"]
    return {"name": plural, "singularName": singular, "kind": singular.capitalize(), "namespaced": True, "verbs": verbs}


def kubeconfig_for(port: int) -> Json:
    """Access to a server on this host that asks for no proof."""
    return {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def told(change: str, item: Json) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": change, "object": item}).encode() + b"\n"
