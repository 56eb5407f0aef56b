"""``python -m stoker_cli``: the same as the command ``stoker``."""

from stoker_cli.main import stoker

if __name__ == "__main__":
    stoker(prog_name="stoker")
