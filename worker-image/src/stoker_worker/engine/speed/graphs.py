"""CUDA graphs: what a call launches is recorded once and launched again at once.

A denoiser launches some three thousand kernels, at 5 to 8 µs of Python and driver each. Where the card needs less time for them
than that, it waits. A recording launches them all by one call: the same kernels on the same data, so not a bit of the result
changes.

A call is recorded when its form (``calls.Call``) comes the second time, and only kept when a replay gives exactly what the call
gave and saves at least 3 % of its time. Whatever cannot be recorded runs as it did before.
"""

import functools
import logging
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from stoker_worker.engine.protocol import GraphDecision, GraphFigures
from stoker_worker.engine.speed.calls import Call, Forward, Weights, taken_apart
from stoker_worker.engine.speed.recording import Recorder, Recording

log = logging.getLogger(__name__)

LEAST_GAIN = 0.03
"""Share of a call's time that a recording must save: less is noise, and each recording holds memory."""
MOST_GRAPHS = 128
"""SDXL has four for each size and batch. Their kernels share memory; each has its own inputs, result and list of kernels."""
_MOST_FORMS = 1024
"""Forms of calls that are remembered, recorded or not."""
_RECORD_AT = 2
"""A form that comes once is not worth recording, which takes as long as some eight calls."""
_HARDER = 4
"""How many times as often a form must come again once its graph had to go, so that too many forms do not record for ever."""
_SATURATED = 0.2
"""Share of a call's time that launching must take: no more than that could be saved, and a card with work in hand saves far less.

Such calls are the large ones, whose recording would hold as much memory as the call needs."""
_MOST_MOVES = 2
"""How often a form is recorded anew because its weights have moved. More than that, and they move between all calls."""


@dataclass(slots=True)
class Graph:
    """A recorded call: the buffers that it reads and those that it fills."""

    recording: Recording
    inputs: list[Any]
    outputs: list[Any]
    spec: Any
    weights: tuple[int, ...]

    def run(self, torch: Any, tensors: list[Any]) -> Any:
        """The call's result for `tensors`: copies, because the next replay of any graph may overwrite the buffers."""
        for buffer, given in zip(self.inputs, tensors, strict=True):
            buffer.copy_(given)
        self.recording.replay()
        copies = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in self.outputs]
        return torch.utils._pytree.tree_unflatten(copies, self.spec)  # noqa: SLF001 - torch's own modules use it


@dataclass(slots=True)
class _Form:
    """What is known of calls of one form of a part. It is recorded when it has come `needs` times."""

    part: str
    seen: int = 0
    needs: int = _RECORD_AT
    moves: int = 0
    graph: Graph | None = None
    eager: str = ""
    """Why it is not recorded, once that is decided."""


class Graphs:
    """The graphs of a pipeline's parts, at most `most` at a time. Belongs to the model's thread."""

    def __init__(self, torch: Any, recorder: Recorder, most: int = MOST_GRAPHS) -> None:
        self._torch = torch
        self._recorder = recorder
        self._most = most
        self._forms: OrderedDict[Hashable, _Form] = OrderedDict()
        self._decided: dict[str, Counter[GraphDecision]] = {}

    def graphed(self, part: str, module: Any, forward: Forward, state: Callable[[], Hashable] = tuple) -> Forward:
        """`forward` of `module`, recorded where that helps. `state` is what decides about the call beside its arguments."""
        weights = Weights(module)
        self._decided.setdefault(part, Counter())

        @functools.wraps(forward)
        def call(*positional: Any, **named: Any) -> Any:
            taken = None if module.training or self._differentiating() else taken_apart(self._torch, positional, named)
            if taken is None or not taken.lies_on(weights.device()):
                return forward(*positional, **named)
            form = self._form(part, (part, weights.dtype(), state(), self._torch.is_inference_mode_enabled(), taken.key))
            graph = self._graph(f"{part} of {taken.size}", form, forward, taken, weights)
            return forward(*positional, **named) if graph is None else graph.run(self._torch, taken.tensors)

        return call

    def forget(self, part: str) -> None:
        """Drop the graphs of `part` and what was decided about it: its kernels are others now."""
        for key in [key for key, form in self._forms.items() if form.part == part]:
            del self._forms[key]

    def free(self) -> None:
        """Drop all graphs, because memory is short or the weights are about to move. What runs without stays with that."""
        for form in self._forms.values():
            form.graph, form.seen = None, 0
        self._recorder.renew()

    @property
    def count(self) -> int:
        """Graphs that are held."""
        return sum(form.graph is not None for form in self._forms.values())

    def figures(self) -> dict[str, GraphFigures]:
        """Graphs that are held, and what was decided so far, by part."""
        held = Counter(form.part for form in self._forms.values() if form.graph is not None)
        return {part: GraphFigures(held[part], Counter(decided)) for part, decided in self._decided.items()}

    def _differentiating(self) -> bool:
        return bool(self._torch.is_grad_enabled() or self._torch.is_autocast_enabled("cuda"))

    def _form(self, part: str, key: Hashable) -> _Form:
        form = self._forms.setdefault(key, _Form(part))
        self._forms.move_to_end(key)
        if len(self._forms) > _MOST_FORMS:
            self._forms.popitem(last=False)
        form.seen += 1
        return form

    def _graph(self, name: str, form: _Form, forward: Forward, call: Call, weights: Weights) -> Graph | None:
        """The form's graph, recorded now if it is time to; None where the call runs as it is."""
        if form.eager or form.seen < form.needs:
            return None
        addresses = weights.addresses()
        if form.graph is not None and form.graph.weights != addresses:
            form.graph, form.moves = None, form.moves + 1
            if form.moves > _MOST_MOVES:
                self._stays(name, form, GraphDecision.MOVES, "its weights move between calls")
                return None
        if form.graph is None:
            self._consider(name, form, _Subject(self._torch, self._recorder, forward, call, addresses))
        return form.graph

    def _consider(self, name: str, form: _Form, subject: "_Subject") -> None:
        """Record the call if that is possible now and worth it. While something else needs the device, another time."""
        if not self._recorder.exclusive.acquire(blocking=False):
            return
        try:
            self._judge(name, form, subject)
        except Exception as error:  # noqa: BLE001 - whatever keeps a call from being recorded, it runs without
            traceback.clear_frames(error.__traceback__)
            self._stays(name, form, GraphDecision.UNRECORDABLE, f"it cannot be recorded ({type(error).__name__})")
            if isinstance(error, self._torch.OutOfMemoryError):
                self.free()  # the call itself comes now, and must not fail for want of what others hold
        finally:
            self._recorder.exclusive.release()
        if not self.count:
            self._recorder.renew()  # a recording that was not kept has left its memory behind

    def _judge(self, name: str, form: _Form, subject: "_Subject") -> None:
        expected = subject.warmed_up()
        if subject.saturates():
            self._stays(name, form, GraphDecision.SATURATED, "the device is busy all the time as it is")
            return
        graph = subject.recorded()
        if not same(self._torch, expected, graph.run(self._torch, subject.call.tensors)):
            self._stays(name, form, GraphDecision.DIFFERS, "a replay gives another result")
            return
        eager, replayed = subject.raced(graph)
        gain = 1 - replayed / eager
        if gain < LEAST_GAIN:
            self._stays(name, form, GraphDecision.NO_GAIN, f"a replay saves {gain:.1%} of {eager * 1000:.1f} ms")
            return
        self._make_room()
        form.graph = graph
        self._decided[form.part][GraphDecision.REPLAYED] += 1
        log.info("%s is replayed from now on, which saves %.0f %% of %.1f ms", name, gain * 100, eager * 1000)

    def _make_room(self) -> None:
        """Let go of the graphs that were not used for longest. To come back they must be asked for more often than before."""
        held = [form for form in self._forms.values() if form.graph is not None]
        for form in held[: max(0, len(held) - self._most + 1)]:
            form.graph, form.seen, form.needs = None, 0, form.needs * _HARDER

    def _stays(self, name: str, form: _Form, decision: GraphDecision, why: str) -> None:
        form.graph, form.eager = None, why
        self._decided[form.part][decision] += 1
        log.info("%s is launched kernel by kernel: %s", name, why)


@dataclass(frozen=True, slots=True)
class _Subject:
    """A call that may be recorded."""

    torch: Any
    recorder: Recorder
    forward: Forward
    call: Call
    weights: tuple[int, ...]

    def _eagerly(self, tensors: list[Any]) -> Any:
        positional, named = self.call.again(self.torch, tensors)
        return self.forward(*positional, **named)

    def warmed_up(self) -> Any:
        return self.recorder.warm_up(lambda: self._eagerly(self.call.tensors))

    def saturates(self) -> bool:
        took = self.recorder.took(lambda: self._eagerly(self.call.tensors))
        return took.launched < _SATURATED * took.done

    def recorded(self) -> Graph:
        inputs = [tensor.clone() for tensor in self.call.tensors]
        recording, result = self.recorder.record(lambda: self._eagerly(inputs))
        outputs, spec = self.torch.utils._pytree.tree_flatten(result)  # noqa: SLF001 - torch's own modules use it
        return Graph(recording, inputs, outputs, spec, self.weights)

    def raced(self, graph: Graph) -> tuple[float, float]:
        """Seconds of the call and of its replay: the better of two each, in turns."""
        rounds = [
            (
                self.recorder.took(lambda: self._eagerly(self.call.tensors)).done,
                self.recorder.took(lambda: graph.run(self.torch, self.call.tensors)).done,
            )
            for _ in range(2)
        ]
        return min(eager for eager, _ in rounds), min(replayed for _, replayed in rounds)


def same(torch: Any, one: Any, other: Any) -> bool:
    """Whether two results are equal in every number; what is no number equals itself."""
    leaves, spec = torch.utils._pytree.tree_flatten(one)  # noqa: SLF001 - torch's own modules use it
    others, other_spec = torch.utils._pytree.tree_flatten(other)  # noqa: SLF001 - as above
    return spec == other_spec and all(_equal(torch, left, right) for left, right in zip(leaves, others, strict=True))


def _equal(torch: Any, left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        equal = left.dtype == right.dtype and torch.equal(left, right)
        return bool(equal or (left.is_floating_point() and torch.allclose(left, right, rtol=0, atol=0, equal_nan=True)))
    return bool(left == right)
