"""What is learnt by key, in bounded memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

KEYS = 256
"""So many keys are remembered: shapes that callers ask for over and over are far fewer."""


class Remembered(Generic[T]):
    """One value for each of the `KEYS` keys that were used last; `new` makes the value of a key that is not known."""

    def __init__(self, new: Callable[[], T]) -> None:
        self._new = new
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def __getitem__(self, key: Hashable) -> T:
        """What is known of `key`, from now on the one that was used last."""
        if key not in self._values:
            self._values[key] = self._new()
            if len(self._values) > KEYS:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)
