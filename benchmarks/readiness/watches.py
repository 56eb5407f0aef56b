"""Two streams read side by side: pods from the API server, offers from the orchestrator, each change with its moment."""

import json
import ssl
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx2
import yaml

from e2e.release import Release
from stoker_contracts import names


class History:
    """Which models are up, and when that changed."""

    def __init__(self) -> None:
        self._up: dict[str, bool] = {}
        self._changes: dict[str, list[tuple[float, bool]]] = {}

    def note(self, name: str, *, up: bool) -> None:
        """`name` is up, or is not, from now on."""
        if self._up.get(name, False) is not up:
            self._up[name] = up
            self._changes.setdefault(name, []).append((time.monotonic(), up))

    def is_up(self, name: str) -> bool:
        """Whether `name` is up now."""
        return self._up.get(name, False)

    def moments(self, name: str, *, up: bool) -> list[float]:
        """When `name` came up, or went down, in monotonic seconds."""
        return [moment for moment, state in self._changes.get(name, []) if state is up]

    def forget(self) -> None:
        """Forget the changes so far, not the state."""
        self._changes.clear()


class Stream(Protocol):
    """Something that is read by a thread of its own until it is closed."""

    history: History

    def follow(self) -> None:
        """Read until the connection is closed."""

    def close(self) -> None:
        """End `follow`."""


class PodStream:
    """A model is up when the API server tells of a ready pod that nobody has deleted."""

    def __init__(self, release: Release) -> None:
        self.history = History()
        self._client = api_client(release)
        self._path = f"/api/v1/namespaces/{release.namespace}/pods"
        self._ready: dict[str, set[str]] = {}

    def follow(self) -> None:
        """Read the watch."""
        query = {"watch": "true", "labelSelector": f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"}
        with self._client.stream("GET", self._path, params=query) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                self._take(event["object"], gone=event["type"] == "DELETED")

    def close(self) -> None:
        """End `follow`."""
        self._client.close()

    def _take(self, pod: Mapping[str, Any], *, gone: bool) -> None:
        metadata, conditions = pod["metadata"], pod.get("status", {}).get("conditions") or []
        model = metadata["labels"][names.LABEL_MODEL_DEPLOYMENT]
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        workers = self._ready.setdefault(model, set())
        (workers.add if ready and not gone and "deletionTimestamp" not in metadata else workers.discard)(metadata["name"])
        self.history.note(model, up=bool(workers))


class OfferStream:
    """A model is up when the orchestrator offers it as warm."""

    def __init__(self, release: Release) -> None:
        self.history = History()
        self._client = httpx2.Client(base_url=release.url, timeout=None)

    def follow(self) -> None:
        """Read the event stream."""
        with self._client.stream("GET", "/capabilities", params={"watch": "true"}) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self._take(json.loads(line.removeprefix("data: ")))

    def close(self) -> None:
        """End `follow`."""
        self._client.close()

    def _take(self, document: Mapping[str, Any]) -> None:
        for model in (model for capability in document["capabilities"] for model in capability["models"]):
            self.history.note(model["model_id"].removeprefix("org/"), up=model["warm"])


@contextmanager
def watching(release: Release) -> Iterator[tuple[History, History]]:
    """What pods and what offers did while the block runs."""
    streams: tuple[Stream, Stream] = PodStream(release), OfferStream(release)
    threads = [threading.Thread(target=_follow, args=(stream,), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    try:
        yield streams[0].history, streams[1].history
    finally:
        for stream in streams:
            stream.close()


def _follow(stream: Stream) -> None:
    try:
        stream.follow()
    except (httpx2.HTTPError, RuntimeError):
        return  # closed at the end of the block


def api_client(release: Release) -> httpx2.Client:
    """A client of the cluster's API server with the kubeconfig's certificate."""
    config = yaml.safe_load(release.cluster.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads certificates from files only
        certificate, key = Path(folder) / "certificate", Path(folder) / "key"
        certificate.write_bytes(b64decode(user["client-certificate-data"]))
        key.write_bytes(b64decode(user["client-key-data"]))
        context.load_cert_chain(certificate, key)
    return httpx2.Client(base_url=cluster["server"], verify=context, timeout=None)
