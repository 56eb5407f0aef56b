"""Which rows of a running batch still have callers, and how those without leave it."""

from collections.abc import Sequence
from typing import Any

from stoker_worker.engine.protocol import CancelledError, Steps


class Attendance:
    """Hears after each step who is gone, and takes the parts of those out of the running call where its class allows it.

    Rows are known by their index in the batch as it was given. `computed` are those that the call still has, in the order of
    their parts in its tensors. `generators` is the list that the call was given: it is edited in place.
    """

    def __init__(self, steps: Steps, generators: list[Any], row_tensors: tuple[str, ...] | None) -> None:
        self.generators = generators
        self.computed = list(range(len(generators)))
        self.gone: frozenset[int] = frozenset()
        self._steps = steps
        self._names = None if row_tensors is None else ("latents", *row_tensors)

    @property
    def tensors(self) -> list[str]:
        """What the call must hand out after each step."""
        return list(self._names or ("latents",))

    def after_step(self, pipe: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """The callback of the call. Raises CancelledError when nobody is left."""
        self.gone |= self._steps.stepped()
        staying = [place for place, row in enumerate(self.computed) if row not in self.gone]
        if not staying:
            message = "the callers are gone"
            raise CancelledError(message)
        if self._names is None or len(staying) == len(self.computed):
            return tensors
        _cut_memory(pipe.scheduler, tensors["latents"].shape, staying)
        left = {name: _parts(tensors[name], staying, len(self.computed)) for name in self._names}
        self.computed = [self.computed[place] for place in staying]
        self.generators[:] = [self.generators[place] for place in staying]
        return tensors | left


def _parts(tensor: Any, staying: Sequence[int], count: int) -> Any:
    """The parts of those who stay. With guidance a tensor has two for each of `count` rows: first all without the prompt."""
    rounds = tensor.shape[0] // count
    return tensor[[turn * count + place for turn in range(rounds) for place in staying]]


def _cut_memory(scheduler: Any, shape: Any, staying: list[int]) -> None:
    """Multistep schedulers keep tensors of the latents' shape from earlier steps, alone or in lists."""

    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return [cut(each) for each in value]
        return value[staying] if getattr(value, "shape", None) == shape else value

    for name, value in vars(scheduler).items():
        setattr(scheduler, name, cut(value))
