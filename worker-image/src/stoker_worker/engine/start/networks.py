"""A pipeline's networks, built without weights and given tensors that a ``Reader`` fills meanwhile."""

import json
import logging
import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start.importing import Libraries
from stoker_worker.engine.start.memory import dtype_of, precision
from stoker_worker.engine.start.reader import Reader
from stoker_worker.engine.start.stored import Stored, Wanted, stored_tensors
from stoker_worker.engine.start.weights import Component

log = logging.getLogger(__name__)

_SWITCH_SECONDS = 1e-4
"""How long one thread may keep the interpreter while another waits for it (Python's own: 5 ms)."""
_UNUSUAL = frozenset({"quantization_config", "transformers_weights"})
"""What a configuration has where weights are not plain, or are in other files."""

_AHEAD = "caching_allocator_warmup"
"""The function of transformers that takes memory ahead (5.23, ``modeling_utils``)."""
_THREADLESS = "HF_DEACTIVATE_ASYNC_LOAD"
"""The variable without which it starts threads (5.23, ``core_model_loading``)."""


class UnsuitedError(Exception):
    """A network that its library must read by itself."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A network to be built: its class, what is built from `folder` in `dtype`, and its tensors."""

    component: Component
    kind: Any
    folder: Path
    dtype: Any
    stored: Mapping[str, Stored]

    @property
    def name(self) -> str:
        return self.component.name


def read_networks(libraries: Libraries, folder: Path, components: Collection[Component], dtype: Any, device: str) -> dict[str, Any]:
    """The networks of a pipeline in `folder`, by name. Those that only their library can read are left out.

    Those of transformers are read first and built last, for its conversions may look at the numbers. Those of diffusers are built
    meanwhile, and given tensors whose numbers come later.
    Raises FatalEngineError for damaged or incomplete files, and torch's OutOfMemoryError.
    """
    began = time.monotonic()
    plans = [plan for component in components if (plan := _plan(libraries, folder, component, dtype)) is not None]
    if not plans:
        return {}
    plans.sort(key=lambda plan: plan.component.library == "diffusers")
    networks: dict[str, Any] = {}
    built = 0.0
    with _prompt_switches(), Reader(libraries.torch, device, {plan.name: plan.stored for plan in plans}) as reader:
        for plan in reversed(plans):
            if plan.component.library == "transformers":
                reader.wait(plan.name)
            started = time.monotonic()
            network = _built(libraries, plan, reader.tensors[plan.name], device)
            built += time.monotonic() - started
            if network is not None:
                networks[plan.name] = network
        reader.wait(*reader.tensors)
    log.info(
        "weights: %.2f GB in %.2f s: built %.2f s, read %.2f s (%d readers)",
        reader.size / 1e9, time.monotonic() - began, built, reader.seconds, len(reader.threads),
    )  # fmt: skip
    return networks


def _plan(libraries: Libraries, folder: Path, component: Component, dtype: Any) -> _Plan | None:
    """How a component is built; None where its library must do that."""
    kind = libraries.kind(component.library, component.kind)
    within = folder / component.name
    if not component.files:
        return None
    if not _is_plain(libraries, component, kind, within):
        _leave(component, "its class or its configuration is not of the usual kind")
        return None
    stored = stored_tensors(component.files, libraries.torch, _wanted(libraries, component, dtype))
    if stored is None:
        _leave(component, "its numbers are packed")
        return None
    return _Plan(component, kind, within, dtype_of(component, libraries.torch, dtype), stored)


def _is_plain(libraries: Libraries, component: Component, kind: Any, folder: Path) -> bool:
    """Whether a class and its configuration are of the usual kind. Classes that generate text have more files than weights."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(config, dict) or not isinstance(kind, type) or any(config.get(name) for name in _UNUSUAL):
        return False
    if component.library == "diffusers":
        base = libraries.diffusers.ModelMixin
        return issubclass(kind, base) and kind.from_pretrained.__func__ is base.from_pretrained.__func__  # type: ignore[attr-defined]
    adapted = (folder / "adapter_config.json").exists()
    return issubclass(kind, libraries.transformers.PreTrainedModel) and not kind.can_generate() and not adapted  # type: ignore[attr-defined]


def _wanted(libraries: Libraries, component: Component, dtype: Any) -> Wanted:
    torch = libraries.torch
    chosen = dtype_of(component, torch, dtype)
    loaded_as = precision(component, libraries, dtype)

    def wanted(name: str, source: Any) -> Any:
        if not source.is_floating_point:
            return source
        return torch.float32 if loaded_as.keeps(name) else chosen

    return wanted


def _built(libraries: Libraries, plan: _Plan, tensors: Mapping[str, Any], device: str) -> Any:
    """A network with its tensors, ready to be called; None where its library must read it after all."""
    build = _from_diffusers if plan.component.library == "diffusers" else _from_transformers
    try:
        return build(libraries, plan, dict(tensors), device)
    except (FatalEngineError, libraries.torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a class does otherwise than others, its library can
        _leave(plan.component, type(error).__name__)
        return None


def _from_diffusers(libraries: Libraries, plan: _Plan, tensors: dict[str, Any], device: str) -> Any:
    """As ``ModelMixin.from_pretrained`` does it (diffusers 0.42)."""
    from accelerate import init_empty_weights  # noqa: PLC0415 - imported by diffusers by now
    from diffusers.models.modeling_utils import no_init_weights  # noqa: PLC0415 - as above

    config = plan.kind.load_config(plan.folder, local_files_only=True)
    with _default_dtype(libraries.torch, plan.dtype), no_init_weights(), init_empty_weights():
        network = plan.kind.from_config(config)
    network._fix_state_dict_keys_on_load(tensors)  # noqa: SLF001 - names of attention before diffusers 0.12
    missing = network.load_state_dict(tensors, strict=False, assign=True).missing_keys
    _refuse_missing(plan, missing)
    _move_buffers(network, device)
    network.register_to_config(_name_or_path=str(plan.folder))
    return network.eval()


def _move_buffers(network: Any, device: str) -> None:
    """Bring to the device what a network has computed while it was built, and no file has."""
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.device.type != device:
                setattr(module, name, buffer.to(device))


def _from_transformers(libraries: Libraries, plan: _Plan, tensors: dict[str, Any], device: str) -> Any:
    """By ``from_pretrained`` with the tensors in place of files, for it knows how names were changed (transformers 5.23)."""
    rounded = [name for name, stored in plan.stored.items() if stored.source.itemsize > stored.dtype.itemsize]
    with _nothing_to_load(libraries.transformers):
        network, told = plan.kind.from_pretrained(
            None,
            config=str(plan.folder),
            state_dict=tensors,
            dtype=plan.dtype,
            device_map={"": device},
            local_files_only=True,
            output_loading_info=True,
        )
    _refuse_missing(plan, told["missing_keys"])
    own = network.state_dict() if rounded else {}
    if any(name in own and own[name].dtype != tensors[name].dtype for name in rounded):
        raise UnsuitedError
    network.config.name_or_path = str(plan.folder)
    return network


def _refuse_missing(plan: _Plan, missing: Collection[str]) -> None:
    if missing:
        some = ", ".join(sorted(missing)[:3])
        message = f"the weights of {plan.name} are incomplete: {len(missing)} tensors are missing, such as {some}; fetch them again"
        raise FatalEngineError(ExitReason.WEIGHTS_MISSING, message)


def _leave(component: Component, why: str) -> None:
    log.info("%s is read by %s itself: %s", component.name, component.library, why)


@contextmanager
def _default_dtype(torch: Any, dtype: Any) -> Iterator[None]:
    """Buffers that a network computes while it is built are of this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _prompt_switches() -> Iterator[None]:
    """Readers need the interpreter for moments, and often: nobody who builds networks keeps it from them for long."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _nothing_to_load(transformers: Any) -> Iterator[None]:
    """Spare transformers what it prepares for tensors that are still to be read.

    That is as much memory of a card as they need, once more and perhaps beyond the budget, and threads, which only cost time here.
    """
    module = transformers.modeling_utils
    before = getattr(module, _AHEAD, None)
    threads = os.environ.get(_THREADLESS)
    os.environ[_THREADLESS] = "1"
    if before is not None:
        setattr(module, _AHEAD, lambda *_, **__: None)
    try:
        yield
    finally:
        if before is not None:
            setattr(module, _AHEAD, before)
        os.environ.pop(_THREADLESS)
        if threads is not None:
            os.environ[_THREADLESS] = threads
