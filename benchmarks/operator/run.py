"""``make bench-operator``: how soon many resources have their workers, and whether the operator is quiet afterwards.

200 warm ModelDeployments are made at once on a real API server with controllers and a kubelet that runs no containers. Measured
is the time from a resource's creation until its status says `Warm`, and the writes of the operator's user in the audit log during a
minute in which nothing happens. The operator runs with the rights that the chart gives it, and no others.
"""

import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.result import quantile, report, rounded, say
from e2e.cache import ROOT
from e2e.cluster import binaries
from e2e.cluster.access import NAMESPACE
from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet
from e2e.command_line import command_line
from e2e.commands import CommandError, run
from stoker_contracts import names

RESOURCES = 200
IDLE_SECONDS = 60
LONGEST_SECONDS = 120.0
CHART = ROOT / "deploy/helm/stoker"
WORKER = {
    "image": "stoker.dev/worker-stub:measured",
    "engine": "stub",
    "gpu": {"count": 0},
    "resources": {"cpu": "10m", "memory": "16Mi"},
}
_PATH = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.PLURAL}"


class Convergence:
    """When each resource was first seen to be warm, read from a watch by a thread of its own."""

    def __init__(self, client: httpx2.Client) -> None:
        self.warm: dict[str, float] = {}
        self._client = client
        self._all = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def wait(self) -> None:
        """Return once all are warm. Raises CommandError."""
        if not self._all.wait(LONGEST_SECONDS):
            message = f"{len(self.warm)} of {RESOURCES} resources are warm after {LONGEST_SECONDS:.0f} s"
            raise CommandError(message)

    def _follow(self) -> None:
        try:
            with self._client.stream("GET", _PATH, params={"watch": "true"}) as answer:
                for line in answer.iter_lines():
                    self._take(json.loads(line)["object"])
        except (httpx2.HTTPError, RuntimeError):
            return  # closed at the end

    def _take(self, resource: Mapping[str, Any]) -> None:
        conditions = resource.get("status", {}).get("conditions", [])
        if any(each["type"] == "Warm" and each["status"] == "True" for each in conditions):
            self.warm.setdefault(resource["metadata"]["name"], time.monotonic())
        if len(self.warm) == RESOURCES:
            self._all.set()


def main() -> int:
    """Measure on an API server of its own."""
    command_line("benchmarks.operator.run", __doc__, "make bench-operator").parse_args()
    return report("bench-operator", _measured, {"resources": RESOURCES}, {"converge_p95_s": 25, "idle_writes": 0})


def _measured() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, ApiTier(controllers=True, audit=True) as tier, FakeKubelet(tier):
        return _measure(tier, Path(folder) / "operator.log")


def _measure(tier: ApiTier, log: Path) -> dict[str, float]:
    tier.install_crds()
    tier.make_namespace(NAMESPACE)
    tier.kubectl("apply", "--filename", "-", text_in=_rights())
    with _api(tier) as client, _operator(tier, log):
        _until_served(client)
        convergence = Convergence(client)
        made = {}
        for number in range(RESOURCES):
            made[f"model-{number}"] = time.monotonic()
            client.post(_PATH, json=_resource(f"model-{number}")).raise_for_status()
        convergence.wait()
        seconds = [convergence.warm[name] - moment for name, moment in made.items()]
        say(f"  all warm; {len(tier.writes('operator'))} writes so far")
        _until_quiet(tier)
        before = len(tier.writes("operator"))
        say(f"  quiet; counting writes for {IDLE_SECONDS} s")
        time.sleep(IDLE_SECONDS)
        idle = tier.writes("operator")[before:]
    return {
        "resources": len(seconds),
        "converge_p50_s": rounded(quantile(seconds, 0.5)),
        "converge_p95_s": rounded(quantile(seconds, 0.95)),
        "writes_per_resource": rounded(before / RESOURCES),
        "idle_writes": len(idle),
    }


def _until_served(client: httpx2.Client) -> None:
    """The API server answers 404 for a moment after it has said that a CRD is established."""
    while client.get(_PATH).status_code != httpx2.codes.OK:
        time.sleep(0.1)


def _until_quiet(tier: ApiTier) -> None:
    """Let the last events be worked off: until two looks, some seconds apart, find the same writes."""
    while True:
        before = len(tier.writes("operator"))
        time.sleep(5)
        if len(tier.writes("operator")) == before:
            return


def _rights() -> str:
    """The chart's role for the operator, bound to the operator's service account."""
    helm = binaries.tools() / "helm"
    return run(helm, "template", "stoker", CHART, "--namespace", NAMESPACE, "--show-only", "templates/operator/rbac.yaml")


def _resource(name: str) -> dict[str, Any]:
    spec = {"pipeline": "text-to-image", "modelId": f"org/{name}", "warm": True}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}


@contextmanager
def _api(tier: ApiTier) -> Iterator[httpx2.Client]:
    context = ssl.create_default_context(cafile=str(tier.ca))
    headers = {"Authorization": f"Bearer {tier.token('admin')}"}
    with httpx2.Client(base_url=tier.url, verify=context, headers=headers, timeout=None) as client:
        yield client


@contextmanager
def _operator(tier: ApiTier, log: Path) -> Iterator[None]:
    """The operator as a process with its own user. Raises CommandError where it ends by itself."""
    settings = {
        "STOKER_NAMESPACE": NAMESPACE,
        "STOKER_KUBECONFIG": str(tier.kubeconfig("operator")),
        "STOKER_WORKER": json.dumps(WORKER),
        "STOKER_HEALTH_PORT": "0",
    }
    with log.open("wb") as words:
        command = [sys.executable, "-m", "stoker_operator"]
        process = subprocess.Popen(command, env={"PATH": "", **settings}, stdout=words, stderr=words)
        try:
            yield
        finally:
            ended = process.poll()
            process.terminate()
            process.wait(20)
    if ended is not None:
        message = f"the operator ended with {ended}: {log.read_text()[-1000:]}"
        raise CommandError(message)


if __name__ == "__main__":
    sys.exit(main())
