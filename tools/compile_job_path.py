"""Compiles what every job passes through into machine code (mypyc), beside its sources.

``python compile_job_path.py FOLDER``: the folder that holds stoker_orchestrator and stoker_contracts. It needs a C compiler,
Python's headers, and what the orchestrator imports. What is compiled is the very code that runs without it as well, only slower.
"""

import os
import sys
import tempfile
from pathlib import Path

from mypyc.build import mypycify
from setuptools import setup

JOB_PATH = (
    "adapters/connection",
    "adapters/framing",
    "adapters/outbox",
    "adapters/upstream",
    "app/desk",
    "app/express",
    "app/forwarding",
    "app/job_log",
    "app/jobs",
    "app/metrics",
    "app/serving/connection",
    "app/serving/exchange",
    "app/serving/shared",
    "app/target",
    "domain/cost",
    "domain/hold",
    "domain/model",
    "domain/order",
    "domain/outliers",
    "domain/registry",
    "domain/router",
    "domain/switchboard",
)
"""Modules of the orchestrator. Bodies are not among them: generators that await cannot be compiled."""


def compile_in(folder: Path) -> None:
    """Put the compiled modules into the packages in `folder`. Ends the program where that fails, with the compiler's words."""
    os.chdir(folder)
    os.environ["MYPYPATH"] = str(folder)
    with tempfile.TemporaryDirectory() as scratch:
        modules = mypycify([f"stoker_orchestrator/{module}.py" for module in JOB_PATH], target_dir=scratch)
        arguments = ["--quiet", "build_ext", "--inplace", "--build-temp", scratch, "--build-lib", scratch]
        setup(name="stoker-orchestrator", packages=[], ext_modules=modules, script_args=arguments)


if __name__ == "__main__":
    compile_in(Path(sys.argv[1]).resolve())
