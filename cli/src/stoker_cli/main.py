"""The command ``stoker``: what all its commands have in common."""

import click

from stoker_cli.status import status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="stoker-cli", prog_name="stoker", message="%(prog)s %(version)s")
def stoker() -> None:
    """Look after diffusion models that Stoker keeps warm."""


stoker.add_command(status)
