"""``python -m stoker_worker.bench``: the same as the command ``stoker-bench``."""

from stoker_worker.bench.main import stoker_bench

if __name__ == "__main__":
    stoker_bench(prog_name="stoker-bench")
