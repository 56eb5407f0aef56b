"""What a kubelet writes into a pod's status, and the script by which a fake pod lives. Pure."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

Item = dict[str, Any]

ANNOTATION = "fake-kubelet/script"
"""On a pod: a `Script` as JSON. Pods without it become ready at once."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended; `message` is its termination message."""

    code: int = 0
    reason: str = "Completed"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """How the containers of a pod behave; times in seconds."""

    pull_error: str = ""
    """Why the image cannot be pulled: the pod never starts."""
    start_seconds: float = 0.0
    """From running to ready, or to the scripted end."""
    exit: Exit | None = None
    """Ends so instead of becoming ready."""
    exits: int | None = None
    """How often it ends so before it is well; always where None."""
    back_off_seconds: float = 0.2
    """Before the next start after an end."""
    stop_seconds: float = 0.0
    """From the pod's deletion to its end; the pod's grace period is the longest."""

    @classmethod
    def of(cls, pod: Item) -> Self:
        """The script in the pod's annotations."""
        words = json.loads(pod["metadata"].get("annotations", {}).get(ANNOTATION, "{}"))
        return cls(**words | ({"exit": Exit(**words["exit"])} if words.get("exit") else {}))

    def annotation(self) -> dict[str, str]:
        """The annotation that gives a pod this script."""
        return {ANNOTATION: json.dumps(asdict(self))}

    def end(self, restarts: int) -> Exit | None:
        """How the container ends after it was restarted so often; None where it stays."""
        return self.exit if self.exits is None or restarts < self.exits else None


@dataclass(slots=True)
class PodStatus:
    """The status of one pod as it changes."""

    pod: Item
    address: str
    restarts: int = 0
    last_exit: Exit | None = None
    _running: Item = field(default_factory=dict)
    _since: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By condition: its status and since when."""

    def pull_failed(self, words: str) -> Item:
        """The image cannot be pulled."""
        message = f'Back-off pulling image "{self.pod["spec"]["containers"][0]["image"]}": {words}'
        return self._status("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": message}}, ready=False, address="")

    def started(self) -> Item:
        """The containers have just started."""
        self._running = {"running": {"startedAt": _now()}}
        return self.running(ready=False)

    def running(self, *, ready: bool) -> Item:
        """The containers run."""
        return self._status("Running", self._running, ready=ready)

    def ended(self, how: Exit, phase: str = "Running") -> Item:
        """The containers have ended."""
        self.last_exit = how
        return self._status(phase, _terminated(how), ready=False)

    def backing_off(self) -> Item:
        """The containers have ended and start again later."""
        message = f"back-off restarting failed container in pod {self.pod['metadata']['name']}"
        return self._status("Running", {"waiting": {"reason": "CrashLoopBackOff", "message": message}}, ready=False)

    def _status(self, phase: str, state: Item, *, ready: bool, address: str | None = None) -> Item:
        shown, spec = self.address if address is None else address, self.pod["spec"]
        return {
            "phase": phase,
            "hostIP": "127.0.0.1",
            **({"podIP": shown, "podIPs": [{"ip": shown}]} if shown else {}),
            "startTime": self.pod["metadata"]["creationTimestamp"],
            "conditions": [
                self._condition("Initialized", "True"),
                self._condition("ContainersReady", str(ready)),
                self._condition("Ready", str(ready)),
            ],
            "initContainerStatuses": [
                self._container(each, _terminated(Exit()), ready=True) for each in spec.get("initContainers", [])
            ],
            "containerStatuses": [self._container(each, state, ready=ready) for each in spec["containers"]],
        }

    def _condition(self, kind: str, status: str) -> Item:
        if self._since.get(kind, ("", ""))[0] != status:
            self._since[kind] = (status, _now())
        return {"type": kind, "status": status, "lastTransitionTime": self._since[kind][1]}

    def _container(self, container: Item, state: Item, *, ready: bool) -> Item:
        return {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "started": "running" in state,
            "restartCount": self.restarts,
            "state": state,
            "lastState": _terminated(self.last_exit) if self.last_exit and "terminated" not in state else {},
        }


def _terminated(how: Exit) -> Item:
    moment = _now()
    ended = {"exitCode": how.code, "reason": how.reason, "message": how.message, "startedAt": moment, "finishedAt": moment}
    return {"terminated": ended}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
