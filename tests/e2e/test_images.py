"""When the images' builder builds, and what it calls the result, with a docker that only remembers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e.cache import ROOT
from e2e.cluster.engine import Engine
from e2e.commands import CommandError
from e2e.images import build as images


@dataclass(frozen=True)
class Docker(Engine):
    """An engine of the machine's own kind that remembers what it was asked to make, and makes nothing."""

    calls: list[tuple[str, ...]] = field(default_factory=list)

    def docker(self, *args: str, text_in: str | None = None, log: Path | None = None, timeout: float | None = None) -> str:
        if args[:2] != ("image", "inspect"):
            self.calls.append(args)
        elif not any(args[-1] in call for call in self.calls):
            message = f"docker image inspect ended with 1: Error: No such image: {args[-1]}"
            raise CommandError(message)
        return ""


@dataclass(frozen=True)
class AskedByTwo(Docker):
    """Both askers hear that the first image is not there, before either can make it."""

    both: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=10))
    asked: set[int] = field(default_factory=set)

    def docker(self, *args: str, text_in: str | None = None, log: Path | None = None, timeout: float | None = None) -> str:
        try:
            return super().docker(*args, text_in=text_in, log=log, timeout=timeout)
        finally:
            if threading.get_ident() not in self.asked:
                self.asked.add(threading.get_ident())
                self.both.wait()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    return Docker(host="", data_root=tmp_path, client=Path("docker"))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with the real Dockerfiles and hardly any sources."""
    place = tmp_path / "clone"
    for member in ("contracts", "operator", "orchestrator", "worker-image"):
        (place / member / "src").mkdir(parents=True)
        if member != "contracts":
            (place / member / "Dockerfile").write_text((ROOT / member / "Dockerfile").read_text())
    (place / "requirements").mkdir()
    (place / "tools").mkdir()
    (place / "tools/compile_job_path.py").write_text("")
    for name in ("build", "compile", "operator", "orchestrator", "worker", "worker-stub"):
        (place / "requirements" / f"{name}.txt").write_text(f"{name}==1\n")
    monkeypatch.setattr(images, "ROOT", place)
    return place


def change(file: Path) -> None:
    with file.open("a") as end:
        end.write("# changed\n")


def test_an_image_that_is_there_is_not_built_again(docker: Docker, clone: Path) -> None:
    first = images.build(docker, "orchestrator", "worker")
    made = list(docker.calls)

    assert images.build(docker, "orchestrator", "worker") == first
    assert docker.calls == made


def test_two_that_want_an_image_at_the_same_time_make_it_once(docker: Docker, clone: Path, tmp_path: Path) -> None:
    shared = AskedByTwo(host="", data_root=tmp_path, client=Path("docker"))

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: images.build(shared, "orchestrator"), range(2))

    assert first == second
    assert len(shared.calls) == 3, "a pull of each base, one build"


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ("contracts/src/words.py", {"operator", "orchestrator", "worker", "worker-stub"}),
        ("orchestrator/src/code.py", {"orchestrator"}),
        ("worker-image/src/code.py", {"worker", "worker-stub"}),
        ("worker-image/Dockerfile", {"worker", "worker-stub"}),
        ("requirements/worker.txt", {"worker"}),
        ("requirements/compile.txt", {"orchestrator"}),
        ("tools/compile_job_path.py", {"orchestrator"}),
        ("requirements/build.txt", {"operator", "orchestrator", "worker", "worker-stub"}),
    ],
)
def test_a_change_renames_the_images_that_it_goes_into_and_no_other(
    docker: Docker, clone: Path, changed: str, names: set[str]
) -> None:
    programs = [name for name in images.NAMES if name != "models"]
    before = images.build(docker, *programs)

    change(clone / changed)

    after = images.build(docker, *programs)
    assert {name for name in programs if after[name] != before[name]} == names


@pytest.mark.parametrize(
    ("changed", "made"),
    [
        ("worker-image/src/code.py", 1),
        ("worker-image/Dockerfile", 1),
        ("requirements/worker.txt", 2),
        ("requirements/build.txt", 2),
    ],
)
def test_the_workers_environment_is_made_again_for_its_requirements_alone(
    docker: Docker, clone: Path, changed: str, made: int
) -> None:
    images.build(docker, "worker")
    change(clone / changed)

    images.build(docker, "worker")

    assert len(environments(docker)) == made


def test_a_worker_stands_on_the_environment_that_was_made_for_it(docker: Docker, clone: Path) -> None:
    images.build(docker, "worker")

    [environment] = environments(docker)
    assert f"--build-arg=ENVIRONMENT_IMAGE={environment}" in docker.calls[-1]


def test_a_build_gets_this_machines_index_without_its_value_being_spelled_out(
    docker: Docker, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://name:password@index.example/simple")

    images.build(docker, "operator")

    assert "--build-arg=PIP_INDEX_URL" in docker.calls[-1]


def test_an_image_that_does_not_exist_is_refused_with_those_that_do(docker: Docker) -> None:
    with pytest.raises(CommandError, match="there is no image gateway; there are operator, orchestrator, worker, "):
        images.build(docker, "gateway")


def environments(docker: Docker) -> list[str]:
    """The worker environments that were made."""
    return [call[call.index("--tag") + 1] for call in docker.calls if "--target" in call]
