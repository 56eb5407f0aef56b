"""The command ``stoker-bench``."""

import click

from stoker_worker.bench.comparing import compare
from stoker_worker.bench.facts import tool_version
from stoker_worker.bench.running import run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tool_version(), prog_name="stoker-bench", message="%(prog)s %(version)s")
def stoker_bench() -> None:
    """Measure a diffusion model, in this process or behind a URL, and compare what was measured."""


stoker_bench.add_command(run)
stoker_bench.add_command(compare)
