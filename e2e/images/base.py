"""The base image of Stoker's images: Python's own where a registry can be reached, elsewhere one made of Debian's packages.

The images' Dockerfiles name their base in BASE_IMAGE. The private engine is what runs where no registry can be reached, so
there a small Debian with the same Python stands in.
"""

from collections.abc import Callable
from pathlib import Path

from e2e.cache import content_key, locked, made
from e2e.cluster.engine import Engine
from e2e.cluster.packages import installed
from e2e.commands import CommandError, run
from e2e.progress import step

PUBLISHED = "python:3.11-slim"
PUBLISHED_WITH_COMPILER = "python:3.11"
_REPOSITORY = "stoker.dev/base"
_SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "netbase", "tzdata", "python3", "python3-venv", "python3-pip", "python-is-python3")
_COMPILER = ("gcc", "libc6-dev", "python3-dev")
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""Where Debian keeps the certificates that its administrator trusts besides the published ones."""
_UNNEEDED = (
    "usr/lib/python3.11/EXTERNALLY-MANAGED",
    *("usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*"),
    *("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*", "var/log/*.log"),
)
"""Files that Python's own image does not have either."""


def base_image(engine: Engine) -> str:
    """The reference of the base image, which `engine` has when this returns. Raises CommandError."""
    return _made_here(engine, _PACKAGES) if engine.private else _published(engine, PUBLISHED)


def compiler_image(engine: Engine) -> str:
    """The same with a C compiler and Python's headers. Raises CommandError."""
    if engine.private:
        return _made_here(engine, (*_PACKAGES, *_COMPILER))
    return _published(engine, PUBLISHED_WITH_COMPILER)


def _published(engine: Engine, name: str) -> str:
    return once(engine, name, f"Pulling {name}", lambda: engine.docker("pull", "--quiet", name))


def _made_here(engine: Engine, packages: tuple[str, ...]) -> str:
    key = content_key(_SUITE, *packages, *_UNNEEDED, *_certificates())
    reference = f"{_REPOSITORY}:{key}"

    def make() -> None:
        archive = made("base-image", key, lambda folder: _make(folder, packages)) / "rootfs.tar"
        engine.docker("import", "--change", 'CMD ["python3"]', str(archive), reference)

    return once(engine, reference, f"Importing {reference}", make)


def once(engine: Engine, reference: str, what: str, make: Callable[[], object]) -> str:
    """See that `engine` has the image `reference`, by `make` where it has not; returns `reference`.

    `what` tells people what `make` does. Two programs that want the same image at the same time make it once.
    """
    if not _present(engine, reference):
        with locked(f"image-{reference.replace('/', '-')}"):
            if not _present(engine, reference):
                with step(what):
                    make()
    return reference


def _present(engine: Engine, reference: str) -> bool:
    try:
        engine.docker("image", "inspect", "--format", "{{.Id}}", reference)
    except CommandError as error:
        if "No such image" not in str(error):
            raise
        return False
    return True


def _certificates() -> list[Path]:
    return sorted(_CERTIFICATES.glob("*.crt"))


def _make(folder: Path, packages: tuple[str, ...]) -> None:
    debootstrap = installed("debootstrap", "debootstrap")
    root = folder / "rootfs"
    with step("Making the base image from Debian's packages"):
        # in a mount namespace: what debootstrap mounts goes away with it, however it ends
        run(
            *("unshare", "--mount", "--fork", "--kill-child", debootstrap),
            *("--variant=minbase", f"--include={','.join(packages)}", _SUITE, root),
            log=folder / "log",
        )
        _trust_what_this_machine_trusts(root)
        run("rm", "--recursive", *(found for pattern in _UNNEEDED for found in root.glob(pattern)))
        run("tar", "--create", "--numeric-owner", "--one-file-system", "--file", folder / "rootfs.tar", "--directory", root, ".")
        run("rm", "--recursive", "--one-file-system", root)


def _trust_what_this_machine_trusts(root: Path) -> None:
    """Builds reach the package index the way this machine does, which may be through a proxy with a certificate of its own."""
    for file in _certificates():
        (root / _CERTIFICATES.relative_to("/") / file.name).write_bytes(file.read_bytes())
    run("chroot", root, "update-ca-certificates")
