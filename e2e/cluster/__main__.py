"""Clusters from the command line: ``python -m e2e.cluster {check,up,down,status,load,logs}``."""

import argparse
import shutil
import sys
from pathlib import Path

from e2e.cache import cache_dir
from e2e.cluster import host, kind
from e2e.cluster.diagnosis import collect
from e2e.cluster.engine import private_wanted, stop
from e2e.commands import CommandError
from e2e.progress import step


def main() -> int:
    """Do what was asked for; 1 and a sentence where that failed."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.action(arguments) or 0)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description="kind clusters without an image registry")
    actions = parser.add_subparsers(required=True)
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=kind.DEFAULT_NAME, help="the cluster's name")
    for name, action, text in (
        ("check", _check, "say what this machine lacks for a cluster"),
        ("up", _up, "make the cluster, or find it running"),
        ("down", _down, "take the cluster away"),
        ("status", _status, "show the cluster, its ports and pods"),
        ("load", _load, "put images of the engine into the cluster"),
        ("logs", _logs, "write what is needed to understand a failure into a folder"),
    ):
        command = actions.add_parser(name, help=text, parents=[named])
        command.set_defaults(action=action)
        if name == "down":
            command.add_argument("--all", action="store_true", help="every cluster")
            command.add_argument("--engine", action="store_true", help="every cluster, and our own Docker")
        elif name == "load":
            command.add_argument("images", nargs="+", help="references as `docker images` shows them")
        elif name == "logs":
            command.add_argument("--to", type=Path, help="the folder; without it one in the cache")
    return parser


def _check(_: argparse.Namespace) -> int:
    sentences = host.complaints() if private_wanted() else []
    for sentence in sentences:
        print(sentence)
    return 1 if sentences else 0


def _up(arguments: argparse.Namespace) -> None:
    cluster = kind.up(arguments.name)
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(arguments: argparse.Namespace) -> None:
    for name in kind.names() if arguments.all or arguments.engine else [arguments.name]:
        kind.down(name)
    if arguments.engine:
        with step("Stopping our own Docker"):
            stop()


def _status(arguments: argparse.Namespace) -> int:
    cluster = kind.existing(arguments.name)
    if cluster is None:
        print(f"no cluster {arguments.name}; there are: {', '.join(kind.names()) or 'none'}")
        return 1
    print(f"cluster {cluster.name}: {'answers' if cluster.answers() else 'does not answer'}")
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    for port in kind.NODE_PORTS:
        print(f"NodePort {port}: 127.0.0.1:{cluster.port(port)}")
    print(cluster.kubectl("get", "pods", "--all-namespaces"))
    return 0


def _load(arguments: argparse.Namespace) -> None:
    cluster = _existing(arguments.name)
    for image in arguments.images:
        cluster.load(image)


def _logs(arguments: argparse.Namespace) -> None:
    folder = arguments.to
    if folder is None:
        folder = cache_dir() / "cluster-logs" / arguments.name
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    collect(_existing(arguments.name), folder)
    print(folder)


def _existing(name: str) -> kind.Cluster:
    if (found := kind.existing(name)) is None:
        message = f"there is no running cluster {name}"
        raise CommandError(message)
    return found


if __name__ == "__main__":
    sys.exit(main())
