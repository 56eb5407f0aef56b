"""Caddy as the peer: a proxy of the class of Envoy, in Go, built once from the module proxy."""

import json
from pathlib import Path

from benchmarks.processes import BenchmarkError
from e2e.cache import content_key, made
from e2e.commands import CommandError, run

SOURCE = Path(__file__).with_name("peer")


def program() -> Path:
    """The built program. Raises BenchmarkError."""
    try:
        return made("bench-caddy", content_key(SOURCE), _build) / "caddy"
    except CommandError as error:
        message = f"caddy cannot be built with Go: {error}"
        raise BenchmarkError(message) from None


def _build(folder: Path) -> None:
    run("go", "build", "-trimpath", "-o", folder / "caddy", ".", cwd=SOURCE, env={"CGO_ENABLED": "0"}, timeout=900)


def configured(folder: Path, port: int, upstream: int) -> tuple[list[str | Path], dict[str, str]]:
    """The arguments and variables that make caddy a streaming proxy from `port` to `upstream`, its files in `folder`."""
    proxy = {
        "handler": "reverse_proxy",
        "flush_interval": -1,
        "upstreams": [{"dial": f"127.0.0.1:{upstream}"}],
        "transport": {"protocol": "http", "compression": False, "keep_alive": {"max_idle_conns_per_host": 128}},
    }
    server = {"listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True}, "routes": [{"handle": [proxy]}]}
    quiet = {"logs": {"default": {"level": "ERROR"}}}
    config = folder / "caddy.json"
    settings = {"admin": {"disabled": True}, "logging": quiet, "apps": {"http": {"servers": {"peer": server}}}}
    config.write_text(json.dumps(settings))
    home = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    return ["run", "--config", config], home
