"""nginx as the yardstick: where it comes from and how it is set up."""

import os
import shutil
from pathlib import Path

from benchmarks.processes import BenchmarkError
from e2e.cache import content_key, made
from e2e.commands import CommandError, run

_PACKAGES = ("nginx", "libpcre2-8-0", "libssl3")
_CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    keepalive_requests 100000000;
    upstream worker {{
        server 127.0.0.1:{upstream};
        keepalive 128;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://worker;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


def program() -> tuple[Path, dict[str, str]]:
    """Nginx and the variables that it needs: the installed one, or Debian's unpacked in the cache. Raises BenchmarkError."""
    installed = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if installed:
        return Path(installed), {}
    try:
        folder = made("nginx", content_key(*_PACKAGES), _unpack)
    except CommandError as error:
        message = f"nginx is not installed and cannot be taken from Debian ({error}); install it and run again"
        raise BenchmarkError(message) from None
    libraries = ":".join(str(place) for place in folder.glob("usr/lib/*-linux-gnu*"))
    return folder / "usr" / "sbin" / "nginx", {"LD_LIBRARY_PATH": libraries}


def _unpack(folder: Path) -> None:
    if os.geteuid() == 0:
        run("apt-get", "update", "--quiet")
    run("apt-get", "download", "--quiet", *_PACKAGES, cwd=folder)
    for package in folder.glob("*.deb"):
        run("dpkg", "-x", package, folder)
        package.unlink()


def configured(folder: Path, port: int, upstream: int) -> list[str | Path]:
    """The arguments that make nginx a streaming proxy from `port` to `upstream`, its files in `folder`."""
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_CONFIG.format(folder=folder, port=port, upstream=upstream, user=user))
    return ["-p", folder, "-c", config]
