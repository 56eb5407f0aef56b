"""The audit log of an API server: who wrote what. Lets a test prove that a program writes nothing while nothing happens."""

import json
from pathlib import Path

_WRITES = ("create", "update", "patch", "delete", "deletecollection")
_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": list(_WRITES)}, {"level": "None"}],
}


class AuditLog:
    """Writes to the API, as they were answered, refused ones included."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "audit.log"
        policy = folder / "audit-policy.json"
        policy.write_text(json.dumps(_POLICY))
        self.flags = [f"--audit-policy-file={policy}", f"--audit-log-path={self._log}", "--audit-log-maxsize=10000"]
        """What the API server must be started with."""

    def writes(self, user_name: str) -> list[str]:
        """Every write of a user so far, in order, as ``patch /api/v1/...``."""
        if not self._log.exists():
            return []
        whole, _, _ = self._log.read_text().rpartition("\n")
        events = (json.loads(line) for line in whole.splitlines())
        return [f"{event['verb']} {event['requestURI']}" for event in events if event["user"]["username"] == user_name]
