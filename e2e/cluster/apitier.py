"""The api tier: etcd and a real API server as plain processes, ready in about 3 s, for tests that need no kubelet.

With `controllers` the controller-manager and the scheduler run too; `fake_kubelet` then brings pods to Ready.
"""

import json
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cache import ROOT
from e2e.cluster import binaries
from e2e.cluster.access import USERS, Access
from e2e.cluster.audit import AuditLog
from e2e.cluster.daemon import Daemon
from e2e.cluster.workspace import workspace
from e2e.commands import run

_CRDS = ROOT / "deploy" / "crds"
_KEPT_LOGS = ROOT / "test-logs"
_START_SECONDS = 60
_LOOK_SECONDS = 0.05

_ETCD_SOCKET = "etcd.sock:0"
"""A socket in the folder instead of a port; etcd wants a port in the address all the same."""
_NO_PORT = "http://127.0.0.1:0"
_ETCD_FLAGS = (
    "--data-dir=etcd", "--unsafe-no-fsync", f"--listen-client-urls=unix://{_ETCD_SOCKET}", f"--advertise-client-urls={_NO_PORT}",
    f"--listen-peer-urls={_NO_PORT}", f"--initial-advertise-peer-urls={_NO_PORT}", f"--initial-cluster=default={_NO_PORT}",
)  # fmt: skip


class ApiTierError(Exception):
    """The API server does not come up; the text has its last words."""


class ApiTier:
    """One API server on a port of its own of 127.0.0.1, used in a ``with`` block. Any number may run side by side.

    `controllers`: with controller-manager and scheduler. `audit`: `writes` can be asked.
    """

    def __init__(self, *, controllers: bool = False, audit: bool = False) -> None:
        self._controllers = controllers
        self._audited = audit
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        """Start everything and wait until the API answers. Raises ApiTierError, GoError, CommandError."""
        self._kubernetes, self._tools = binaries.kubernetes(), binaries.tools()
        with self._exit:
            self._folder = self._exit.enter_context(workspace("stoker-api-"))
            self._prepare(self._exit.enter_context(_reserved_port()))
            self._start()
            self._exit = self._exit.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End everything; keep the logs where an error ends the block."""
        if error is not None:
            self.keep_logs()
        self._exit.close()

    def token(self, user: str) -> str:
        """The bearer token of a user of `access.USERS`."""
        return self._access.token(user)

    def kubeconfig(self, user: str = "admin") -> Path:
        """A kubeconfig that speaks as `user`."""
        return self._access.kubeconfig(user)

    def kubectl(self, *arguments: str | Path, text_in: str | None = None) -> str:
        """Run kubectl as admin and return what it printed. Raises CommandError."""
        return run(self._kubernetes / "kubectl", f"--kubeconfig={self.kubeconfig()}", *arguments, text_in=text_in)

    def install_crds(self) -> None:
        """Install Stoker's CRDs and wait until they are served."""
        self.kubectl("apply", "--server-side", "-f", _CRDS)
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", _CRDS)

    def make_namespace(self, name: str) -> None:
        """Make a namespace in which pods can be made at once, not only when the controller-manager made its ServiceAccount."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, account]
        self.kubectl("apply", "--server-side", "-f", "-", text_in="\n".join(json.dumps(each) for each in objects))

    def stop_server(self) -> None:
        """Kill the API server; what it stored stays, and so does the claim on its port."""
        self._server.kill()

    def start_server(self) -> None:
        """Start the API server again on the same port, and wait until it answers."""
        self._server.start()
        self._wait("an answer", self._answers)

    def writes(self, user: str) -> list[str]:
        """What `user` has written so far, refused writes included, as ``patch /api/v1/...``. Needs `audit`."""
        assert self._audit is not None, "the API tier was started without audit=True"  # noqa: S101 - the caller's mistake
        return self._audit.writes(USERS[user].name)

    def keep_logs(self) -> Path:
        """Copy the logs to where they outlive the tier; return the folder."""
        kept = _KEPT_LOGS / self._folder.name
        shutil.copytree(self._folder / "logs", kept, dirs_exist_ok=True)
        return kept

    def _prepare(self, port: int) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.ca = self._folder / "pki" / "apiserver.crt"
        """The API server's certificate and the authority that signed it; the server itself writes the file."""
        (self._folder / "logs").mkdir()
        self._access = Access(self._folder, self.url, self.ca)
        self._audit = AuditLog(self._folder) if self._audited else None
        keys = ("init", "phase", "certs", "sa", "--cert-dir", self._folder / "sa")
        run(self._kubernetes / "kubeadm", *keys, "--kubernetes-version", binaries.KUBERNETES_VERSION)
        self._etcd = self._daemon(self._tools / "etcd", *_ETCD_FLAGS)
        self._server = self._daemon(self._kubernetes / "kube-apiserver", *self._server_flags(port))

    def _daemon(self, program: Path, *flags: str) -> Daemon:
        daemon = Daemon([str(program), *flags], self._folder, self._folder / "logs" / f"{program.name}.log")
        self._exit.callback(daemon.kill)
        return daemon

    def _server_flags(self, port: int) -> list[str]:
        return [
            f"--etcd-servers=unix://{self._folder}/{_ETCD_SOCKET}",
            f"--cert-dir={self.ca.parent}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--permit-port-sharing",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=sa/sa.pub",
            "--service-account-signing-key-file=sa/sa.key",
            f"--token-auth-file={self._access.token_file}",
            "--authorization-mode=Node,RBAC",
            *([] if self._controllers else ["--disable-admission-plugins=ServiceAccount"]),
            *(self._audit.flags if self._audit else []),
        ]

    def _start(self) -> None:
        self._etcd.start()
        self._server.start()
        if self._controllers:
            self._wait("the certificate", self.ca.exists)
            for daemon in self._controller_daemons():
                daemon.start()
        self._wait("an answer", self._answers)

    def _controller_daemons(self) -> tuple[Daemon, Daemon]:
        shared = ("--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000")
        manager = self._daemon(
            self._kubernetes / "kube-controller-manager", *shared,
            f"--kubeconfig={self.kubeconfig('controller-manager')}", f"--root-ca-file={self.ca}",
            "--service-account-private-key-file=sa/sa.key",
            "--node-monitor-period=1s", "--node-monitor-grace-period=20s",
        )  # fmt: skip
        scheduler = self._daemon(self._kubernetes / "kube-scheduler", *shared, f"--kubeconfig={self.kubeconfig('scheduler')}")
        return manager, scheduler

    def _wait(self, what: str, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not there():
            if self._server.pid is None or time.monotonic() > deadline:
                message = f"no {what} of the API server; its logs are in {self.keep_logs()}: {self._server.last_words()}"
                raise ApiTierError(message)
            time.sleep(_LOOK_SECONDS)

    def _answers(self) -> bool:
        if not self.ca.exists():
            return False
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token('admin')}"})  # noqa: S310 - our own https
        try:
            with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=str(self.ca)), timeout=5):  # noqa: S310
                return True
        except (OSError, urllib.error.URLError):
            return False


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A free port that stays ours during the block: bound but not listening, so that only who shares ports can take it."""
    with socket.socket() as claim:
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        claim.bind(("127.0.0.1", 0))
        yield int(claim.getsockname()[1])
