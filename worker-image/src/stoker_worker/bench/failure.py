"""What ends a benchmark before there is a result."""

import click


class BenchError(click.ClickException):
    """Nothing could be measured; the message says why in one sentence, and what to do."""

    exit_code = 2
