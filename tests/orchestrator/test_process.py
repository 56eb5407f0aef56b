"""The orchestrator as a process of its own: what it says when it ends."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port

_BROKEN = """
import sys
from stoker_orchestrator.app.process import serve
from stoker_orchestrator.app.settings import Settings
from tests.support.fleet import PlayedFleet

class Broken(PlayedFleet):
    async def run(self, sink):
        raise ZeroDivisionError("of its own")

sys.exit(serve(Settings(), lambda _: Broken()))
"""


async def ended(*command: str, **settings: str) -> tuple[int | None, str]:
    """The exit code of an orchestrator, and what it said."""
    variables = os.environ | {"STOKER_HOST": "127.0.0.1", "STOKER_PORT": str(free_port()), "STOKER_FLEET": "processes"} | settings
    process = await asyncio.create_subprocess_exec(sys.executable, *command, env=variables, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("config", "words"), [(None, "the models config cannot be read: FileNotFoundError"), ("[", "the models config")]
)
async def test_an_orchestrator_that_cannot_use_its_models_config_says_so_in_a_line(
    config: str | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "aiModels.json"
    if config is not None:
        file.write_text(config)
    code, said = await ended("-m", "stoker_orchestrator", STOKER_MODELS_CONFIG=str(file))

    assert code == 1
    assert f"the orchestrator stops: {words}" in said
    assert "Traceback" not in said
    assert str(tmp_path) not in said


async def test_an_orchestrator_that_ends_by_an_error_of_its_own_logs_it_with_its_place() -> None:
    code, said = await ended("-c", _BROKEN, STOKER_MODELS_CONFIG="unused")

    assert code == 1
    assert "ZeroDivisionError: of its own" in said
    assert "Traceback" in said
