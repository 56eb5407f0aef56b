"""The Docker that clusters and images live in: a private daemon of ours, or the machine's own where it can pull images.

The private daemon keeps its data in the cache, has its own socket, and leaves the machine's firewall and forwarding alone:
ports are reached through Docker's proxy, builds use the machine's network, and pods have no way out.
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from e2e.cache import cache_dir, content_key, locked
from e2e.cluster.packages import installed
from e2e.commands import CommandError, run
from e2e.progress import step

PUBLISHED_NODE = "kindest/node:v1.36.1@sha256:3489c7674813ba5d8b1a9977baea8a6e553784dab7b84759d1014dbd78f7ebd5"
"""The node image that kind's makers publish for the version of kind in gomodules/tools."""
NETWORK = "stoker"
"""The Docker network of the clusters' nodes."""
_POOL = "base=10.213.0.0/16,size=24"
_RUNTIME = Path(__file__).parent / "runtime" / "capable-runc"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Engine:
    """A Docker daemon that answers."""

    host: str
    """Its socket, as in DOCKER_HOST; empty for the machine's own Docker, which the user's settings choose."""
    data_root: Path
    client: Path
    """The docker program to use with it."""

    @property
    def private(self) -> bool:
        """Whether this is our own daemon."""
        return bool(self.host)

    @property
    def environment(self) -> dict[str, str]:
        """What docker, kind and other clients need in their environment to use this daemon."""
        words = {"KIND_EXPERIMENTAL_DOCKER_NETWORK": NETWORK, "KIND_EXPERIMENTAL_PROVIDER": "docker", "DOCKER_BUILDKIT": "1"}
        if not self.private:
            return words
        path = f"{self.client.parent}:{os.environ.get('PATH', '')}"
        return words | {"PATH": path, "DOCKER_HOST": self.host, "DOCKER_CONFIG": str(_folder() / "client"), "DOCKER_CONTEXT": ""}

    def docker(self, *args: str, text_in: str | None = None, log: Path | None = None, timeout: float | None = None) -> str:
        """Run the docker client and return what it printed. Raises CommandError."""
        return run(self.client, *args, env=self.environment, text_in=text_in, log=log, timeout=timeout)


def engine() -> Engine:
    """The Docker to use, started where it is our own and not running. Raises CommandError.

    STOKER_ENGINE chooses: ``private`` (our own daemon), ``system`` (the machine's), or ``auto``, the default: our own where
    it runs already, else the machine's where that runs and can pull kind's node image, else our own.
    """
    choice = _choice()
    if choice != "system" and (found := _answering()) is not None:
        return found
    if choice != "private" and (found := _system()) is not None:
        return found
    if choice == "system":
        message = "STOKER_ENGINE=system, but the machine's Docker does not run or cannot pull kind's node image"
        raise CommandError(message)
    return _private()


def private_wanted() -> bool:
    """Whether `engine` gives our own Docker here, or would if it can."""
    choice = _choice()
    return choice == "private" or (choice == "auto" and (_answering() is not None or _system() is None))


def _choice() -> str:
    choice = os.environ.get("STOKER_ENGINE", "auto")
    if choice not in {"private", "system", "auto"}:
        message = f"STOKER_ENGINE is private, system or auto, not {choice!r}"
        raise CommandError(message)
    return choice


def stop() -> None:
    """Stop our own daemon, if it runs, and take its network away; its data stays."""
    with locked("engine"):
        if (found := _answering()) is None:
            return
        _remove_network(found)
        pidfile = _runtime_folder() / "pid"
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        _wait_for_end(pidfile)
        shutil.rmtree(_runtime_folder())
        _unmount(found.data_root)


def _system() -> Engine | None:
    client = shutil.which("docker")
    if client is None:
        return None
    found = Engine(host="", data_root=Path(), client=Path(client))
    try:
        root = found.docker("info", "--format", "{{.DockerRootDir}}", timeout=20).strip()
        if not found.docker("image", "ls", "--quiet", "--filter", f"reference={PUBLISHED_NODE}").strip():
            found.docker("pull", "--quiet", PUBLISHED_NODE, timeout=600)
    except CommandError:
        return None
    return Engine(host="", data_root=Path(root), client=Path(client))


def _private() -> Engine:
    with locked("engine"):
        if (found := _answering()) is not None:
            return found
        daemon = installed("dockerd", "docker.io")
        with step("Starting our own Docker"):
            _start(daemon)
            return _started()


def _start(daemon: Path) -> None:
    place, data = _runtime_folder(), _folder()
    if _filesystem(data) == "overlayfs":
        message = f"{data} lies on an overlay, which Docker cannot stack layers on: let STOKER_CACHE name a folder on a disk"
        raise CommandError(message)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    _forget_the_dead(place / "pid", "dockerd")
    _forget_the_dead(place / "exec" / "containerd" / "containerd.pid", "containerd")
    (data / "client").mkdir(exist_ok=True)
    runtime = shutil.copy2(_RUNTIME, data / _RUNTIME.name)
    command = [
        *("setsid", "--fork", str(daemon), "--host", f"unix://{place}/docker.sock"),
        *("--pidfile", f"{place}/pid", "--exec-root", f"{place}/exec"),
        *("--data-root", f"{data}/data", "--storage-driver", "overlay2", "--oom-score-adjust", "0"),
        *("--containerd-namespace", NETWORK, "--containerd-plugins-namespace", f"{NETWORK}-plugins"),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--userland-proxy=true"),
        *("--default-address-pool", _POOL, "--add-runtime", f"capable={runtime}", "--default-runtime", "capable"),
    ]
    with (data / "log").open("w") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)


def _forget_the_dead(pidfile: Path, program: str) -> None:
    """Remove a process id that a killed daemon left, lest another process that has it now be taken for the daemon."""
    if pidfile.exists():
        name = Path("/proc", pidfile.read_text().strip(), "comm")
        if not name.exists() or name.read_text().strip() != program:
            pidfile.unlink()


def _started() -> Engine:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if (found := _answering()) is not None:
            return found
        time.sleep(0.1)
    last = (_folder() / "log").read_text().splitlines()[-5:]
    message = "our own Docker did not start: " + " / ".join(last)
    raise CommandError(message)


def _answering() -> Engine | None:
    socket = _runtime_folder() / "docker.sock"
    if not socket.exists():
        return None
    client = Path("/usr/bin/docker") if Path("/usr/bin/docker").exists() else Path(shutil.which("docker") or "docker")
    found = Engine(host=f"unix://{socket}", data_root=_folder() / "data", client=client)
    try:
        found.docker("version", timeout=20)
    except CommandError:
        return None
    return found


def _remove_network(found: Engine) -> None:
    try:
        found.docker("network", "rm", NETWORK)
    except CommandError as error:
        if "No such network" not in str(error):
            raise


def _wait_for_end(pidfile: Path) -> None:
    """The daemon removes its file as the last thing that it does."""
    deadline = time.monotonic() + _STOP_SECONDS
    while pidfile.exists():
        if time.monotonic() > deadline:
            message = "our own Docker does not end"
            raise CommandError(message)
        time.sleep(0.1)


def _unmount(data: Path) -> None:
    """Take away the mount of the data folder onto itself that a daemon which was killed leaves to its successors."""
    while subprocess.run(["mountpoint", "--quiet", data], check=False).returncode == 0:
        run("umount", data)


def _folder() -> Path:
    place = cache_dir() / "engine"
    place.mkdir(exist_ok=True)
    return place


def _runtime_folder() -> Path:
    """Where sockets and process ids lie: outside of the cache, as a socket's path may have 107 letters at most."""
    return Path("/run") / f"stoker-{content_key(str(cache_dir().resolve()))}"


def _filesystem(place: Path) -> str:
    return run("stat", "--file-system", "--format", "%T", place).strip()
