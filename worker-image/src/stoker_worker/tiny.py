"""``python -m stoker_worker.tiny DIR``: write the tiny random-weight models, to try Stoker without a download."""

import argparse
import os
from pathlib import Path

from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny


def main() -> None:
    """Write the models and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m stoker_worker.tiny", description=__doc__)
    parser.add_argument("directory", type=Path, help="folder to write to; becomes a worker's MODEL_DIR")
    parser.add_argument(
        "--pipeline", action="append", type=Pipeline, choices=list(Pipeline), help="only this pipeline; may be repeated"
    )
    parser.add_argument(
        "--family",
        action="append",
        choices=list(tiny.FAMILIES),
        help="this family instead of one of each pipeline; may be repeated",
    )
    chosen = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    for family in chosen.family or [None]:
        for pipeline in tiny.FAMILIES.get(family, tuple(Pipeline)):
            if pipeline in (chosen.pipeline or Pipeline):
                tiny.write(chosen.directory, pipeline, family)
                print(f"{tiny.model_id(pipeline, family)} written")  # noqa: T201 - it talks to people


if __name__ == "__main__":
    main()
