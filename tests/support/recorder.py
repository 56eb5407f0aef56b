"""A device that records, played on a CPU: with the rules of CUDA graphs, and with time that is counted and not measured."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from stoker_worker.engine.speed.recording import Recording, Took

Body = Callable[[], Any]


class CannotBeRecordedError(RuntimeError):
    """The host looked at what the device had not computed yet."""


_LOOKS = {torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__}


class _Blind(TorchFunctionMode):  # type: ignore[misc] # torch's types are not read
    """The host may not look into a tensor."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _LOOKS:
            raise CannotBeRecordedError
        return function(*args, **(kwargs or {}))


class _Counting(TorchDispatchMode):  # type: ignore[misc] # as above
    """Counts kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.kernels += 1
        return kernel(*args, **(kwargs or {}))


class _Unwatched(contextlib.nullcontext[Any]):
    """Compiled code is not to be watched: it would be compiled anew for it."""

    kernels = 100

    def __enter__(self) -> Self:
        return self


class _Graph:
    """What was recorded. Its buffers hold nothing until it is replayed, and no longer than until another graph is."""

    def __init__(self, device: "FakeRecorder", body: Body, outputs: list[Any], kernels: int) -> None:
        self._device = device
        self._body = body
        self.outputs = [each for each in outputs if isinstance(each, torch.Tensor)]
        self.kernels = kernels

    def replay(self) -> None:
        with _disable_current_modes():
            self._device.spoil(self)
            fresh = [leaf for leaf in _pytree.tree_leaves(self._body()) if isinstance(leaf, torch.Tensor)]
            for buffer, made in zip(self.outputs, fresh, strict=True):
                buffer.copy_(made)
        self._device.replayed(self)


class FakeRecorder:
    """`launch` and `kernel` are the seconds that the host takes to launch a kernel, and the device to run it.

    Calls are watched, so that what cannot be recorded fails as on a card; with `watched` off each counts for a hundred kernels.
    """

    def __init__(self, launch: float = 8e-6, kernel: float = 1e-6, *, watched: bool = True) -> None:
        self.exclusive = threading.Lock()
        self.launch = launch
        self.kernel = kernel
        self.recorded = 0
        self.replays = 0
        self.renewed = 0
        self._watched = watched
        self._replayed_kernels = 0
        self._graphs: list[_Graph] = []

    def warm_up(self, body: Body) -> Any:
        return body()

    def record(self, body: Body) -> tuple[Recording, Any]:
        with _Blind() if self._watched else _Unwatched(), self._counting() as counted:
            result = body()
        graph = _Graph(self, body, _pytree.tree_leaves(result), counted.kernels)
        self._graphs.append(graph)
        self.recorded += 1
        self.spoil(None)
        return graph, result

    def renew(self) -> None:
        self.renewed += 1

    def took(self, body: Body) -> Took:
        before = self.replays, self._replayed_kernels
        with self._counting() as counted:
            body()
        replays, replayed = self.replays - before[0], self._replayed_kernels - before[1]
        kernels = 0 if replays and not self._watched else counted.kernels
        launched = (kernels + replays) * self.launch
        running = (kernels + replayed) * self.kernel
        return Took(launched, max(launched, running))

    def _counting(self) -> Any:
        return _Counting() if self._watched else _Unwatched()

    def spoil(self, spared: _Graph | None) -> None:
        """What graphs that share memory do to each other's results."""
        for graph in self._graphs:
            if graph is not spared:
                for buffer in graph.outputs:
                    buffer.fill_(float("nan") if buffer.is_floating_point() else 1)

    def replayed(self, graph: _Graph) -> None:
        self.replays += 1
        self._replayed_kernels += graph.kernels

    def busy(self) -> Self:
        """Someone else uses the device now."""
        self.exclusive.acquire()
        return self
