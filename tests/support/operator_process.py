"""The operator as a process of its own, with the rights that the chart gives it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from e2e.cluster.apitier import ApiTier
from tests.chart.helm import RELEASE, Helm
from tests.support.api_objects import Objects
from tests.support.ports import free_port
from tests.support.waiting import eventually

WORKER = {
    "image": "stoker.dev/worker-stub:1",
    "engine": "stub",
    "gpu": {"count": 0},
    "resources": {"cpu": "0.1", "memory": "64Mi"},
    "allowedImagePrefixes": ["registry.example/"],
}


class OperatorProcess:
    """One operator over one namespace, used in a ``with`` block; what it logs is in `log`."""

    def __init__(self, tier: ApiTier, namespace: str, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.log = folder / f"operator-{self.port}.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "STOKER_NAMESPACE": namespace,
            "STOKER_KUBECONFIG": str(tier.kubeconfig("operator")),
            "STOKER_WORKER": json.dumps(WORKER),
            "STOKER_HEALTH_HOST": "127.0.0.1",
            "STOKER_HEALTH_PORT": str(self.port),
        } | settings
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start; do not wait for anything."""
        with self.log.open("ab") as output:
            command = [sys.executable, "-m", "stoker_operator"]
            self.process = subprocess.Popen(command, env=self._environment, stdout=output, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop, by force where it does not end soon."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if error is not None:
            print(self.log.read_text())  # noqa: T201 - pytest shows it with the failure

    def health(self) -> int:
        """The answer of /healthz; 0 where nobody answers."""
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/healthz").status_code
        except httpx2.HTTPError:
            return 0

    def healthy(self) -> Self:
        """Return once it is well."""
        eventually(lambda: self.health() == httpx2.codes.OK)
        return self

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def grant_rights(helm: Helm, objects: Objects) -> None:
    """Give the operator's user in this namespace what the chart gives it in the release's."""
    for item in helm.objects():
        if item["kind"] in ("Role", "RoleBinding") and item["metadata"]["name"] == f"{RELEASE}-operator":
            metadata: dict[str, Any] = {"name": item["metadata"]["name"]}
            objects.apply(item | {"metadata": metadata})
