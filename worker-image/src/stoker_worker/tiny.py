"""``python -m stoker_worker.tiny DIR``: write the tiny random-weight models, to try Stoker without a download."""

import argparse
import os
from pathlib import Path

from stoker_contracts.pipelines import Pipeline


def main() -> None:
    """Write the models and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m stoker_worker.tiny", description=__doc__)
    parser.add_argument("directory", type=Path, help="folder to write to; becomes a worker's MODEL_DIR")
    parser.add_argument(
        "--pipeline", action="append", type=Pipeline, choices=list(Pipeline), help="only this pipeline; may be repeated"
    )
    chosen = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    from stoker_worker.engine import tiny  # noqa: PLC0415 - `--help` must not wait for torch

    for pipeline in chosen.pipeline or list(Pipeline):
        tiny.write(chosen.directory, pipeline)
        print(f"{tiny.MODEL_IDS[pipeline]} written")  # noqa: T201 - it talks to people


if __name__ == "__main__":
    main()
