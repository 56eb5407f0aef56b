"""The api tier itself: what its users count on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cache import ROOT
from e2e.cluster.apitier import ApiTier
from e2e.cluster.workspace import workspace
from tests.support.waiting import eventually

pytestmark = pytest.mark.api

OWNER = """
import signal
from e2e.cluster.apitier import ApiTier
with ApiTier(controllers=True) as tier:
    print(tier.ca.parent.parent, flush=True)
    signal.pause()
"""


def processes_in(folder: str) -> list[str]:
    """Command lines that name the folder."""
    lines = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            line, at = (each / "cmdline").read_bytes().decode(), str((each / "cwd").readlink())
        except OSError:
            continue
        if folder in line or at == folder:
            lines.append(line)
    return lines


def test_a_second_api_server_runs_beside_the_first_and_survives_being_killed(api_tier: ApiTier) -> None:
    with ApiTier() as other:
        assert other.url != api_tier.url
        other.make_namespace("kept")

        other.stop_server()
        assert api_tier.kubectl("get", "--raw", "/readyz") == "ok"
        other.start_server()

        assert "kept" in other.kubectl("get", "namespaces")
        assert "kept" not in api_tier.kubectl("get", "namespaces")


def test_the_audit_tells_who_wrote_what(api_tier: ApiTier) -> None:
    before = len(api_tier.writes("admin"))

    api_tier.kubectl("get", "namespaces")
    api_tier.kubectl("create", "configmap", "written", "-n", "default")

    written = eventually(lambda: api_tier.writes("admin")[before:])
    assert [each.split("?")[0] for each in written] == ["create /api/v1/namespaces/default/configmaps"]
    assert api_tier.writes("orchestrator") == []


def test_users_are_who_they_say(api_tier: ApiTier) -> None:
    said = api_tier.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", "--token", api_tier.token("operator"))

    assert said == "system:serviceaccount:stoker:stoker-operator"


def test_nothing_outlives_an_owner_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder = owner.stdout.readline().strip()
        assert len(processes_in(folder)) >= 4
        owner.send_signal(signal.SIGKILL)

    eventually(lambda: not processes_in(folder), seconds=10)
    assert Path(folder).is_dir()
    with workspace("stoker-api-"):
        assert not Path(folder).exists()
