"""Who may call the API server of the api tier: users with tokens, and a kubeconfig for each."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class User:
    """A user as the API server sees it."""

    name: str
    groups: tuple[str, ...]


def service_account(namespace: str, name: str) -> User:
    """The user that a ServiceAccount's token makes."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


NAMESPACE = "stoker"
"""The namespace of the release in tests."""
USERS = {
    "admin": User("admin", ("system:masters",)),
    "controller-manager": User("controller-manager", ("system:masters",)),
    "scheduler": User("scheduler", ("system:masters",)),
    "kubelet": User("kubelet", ("system:masters",)),
    "operator": service_account(NAMESPACE, "stoker-operator"),
    "orchestrator": service_account(NAMESPACE, "stoker-orchestrator"),
}
"""By short name. The parts of the cluster are users of their own so that an audit can tell them apart."""


class Access:
    """Tokens made up for one API server, and files that hold them."""

    def __init__(self, folder: Path, url: str, ca: Path) -> None:
        self._folder = folder
        self._url = url
        self._ca = ca
        self._tokens = {user: secrets.token_hex(16) for user in USERS}
        self.token_file = folder / "tokens.csv"
        """What the API server reads at its start: token, name, uid, groups."""
        lines = [f'{self._tokens[key]},{user.name},{key},"{",".join(user.groups)}"\n' for key, user in USERS.items()]
        self.token_file.touch(mode=0o600)
        self.token_file.write_text("".join(lines))

    def token(self, user: str) -> str:
        """The bearer token of a user."""
        return self._tokens[user]

    def kubeconfig(self, user: str) -> Path:
        """A kubeconfig that speaks as this user."""
        file = self._folder / f"{user}.kubeconfig"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(json.dumps(self._content(user), indent=1))
        return file

    def _content(self, user: str) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "api-tier", "cluster": {"server": self._url, "certificate-authority": str(self._ca)}}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
            "contexts": [{"name": user, "context": {"cluster": "api-tier", "user": user, "namespace": NAMESPACE}}],
            "current-context": user,
        }
