"""Programs from this machine's Debian packages, for what neither Python nor Go modules bring."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.commands import CommandError, run
from e2e.progress import step

_POLICY = Path("/usr/sbin/policy-rc.d")
_START_NOTHING = "#!/bin/sh\nexit 101\n"


def installed(program: str, package: str) -> Path:
    """The path of `program`; where it is absent, Debian's `package` is installed, without starting its services.

    Raises CommandError where this machine has no apt, or this user may not use it.
    """
    if (found := _found(program)) is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        message = f"{program} is not installed, and only root on a Debian machine can install the package {package}"
        raise CommandError(message)
    with step(f"Installing Debian's package {package}"), _no_service_starts():
        run("apt-get", "update", "--quiet")
        run(*f"apt-get install --yes --quiet --no-install-recommends {package}".split(), env={"DEBIAN_FRONTEND": "noninteractive"})
    if (found := _found(program)) is None:
        message = f"the package {package} brought no {program}"
        raise CommandError(message)
    return found


def _found(program: str) -> Path | None:
    place = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return Path(place) if place else None


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep Debian's packages from starting their services; a policy that the machine has already stays."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_START_NOTHING)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
