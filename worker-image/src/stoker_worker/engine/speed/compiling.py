"""Compiling a denoiser while jobs run without it.

torch compiles at the first call of each form, which takes from ten seconds to minutes. Here that first call happens in a thread
of its own, on a twin of the module (its own Python objects, the same weights) and on made-up inputs of a form that jobs have
used. Once it is through, jobs of that form take the twin; never in the middle of one, so that all steps of a picture come from
one code.
"""

import copy
import functools
import itertools
import logging
import queue
import threading
import traceback
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from stoker_worker.engine.faults import is_full
from stoker_worker.engine.speed.calls import Blank, Call, Forward, taken_apart

log = logging.getLogger(__name__)

MOST_FORMS = 8
"""Forms of calls that are compiled; each takes its time and memory, and those that come first are those of most jobs."""
AGAIN_AFTER = 100
"""Batches after which a form that found no memory may be asked for again: each try takes memory from jobs."""
_MOST_RECOMPILES = 128
"""How many variants of one block's code torch keeps. Its own bound of 8 is too low for a UNet: its blocks differ in size."""


class Store(Protocol):
    """Where compiled code outlives the process."""

    def save(self) -> None:
        """Keep what has been compiled so far."""


def twin(module: Any) -> Any:
    """A module of its own that computes the same with the same weights: not a byte of them is copied."""
    shared = {id(tensor): tensor for tensor in itertools.chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, shared)


def prepare(torch: Any, module: Any, backend: Any = "inductor") -> Any:
    """Let `module` be compiled at its calls: its repeated blocks where it names some, in a seventh of the time, else all of it.

    A form of its own for each size (``dynamic=False``): a denoiser sees few sizes and many calls of each.
    """
    bound = torch._dynamo.config  # noqa: SLF001 - where torch's documentation says that it is set
    bound.recompile_limit = max(_MOST_RECOMPILES, bound.recompile_limit)
    if getattr(module, "_repeated_blocks", None):
        module.compile_repeated_blocks(fullgraph=True, dynamic=False, backend=backend)
    else:
        log.info("%s names no repeated blocks and is compiled as a whole, which takes minutes", type(module).__name__)
        module.compile(dynamic=False, backend=backend)
    return module


class Compiled:
    """Calls of one module: by its compiled twin where that is ready, else as they are. `adopt` and calls are the model thread's."""

    def __init__(
        self, torch: Any, eager: Forward, compiled: Forward, store: Store, exclusive: AbstractContextManager[Any],
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:  # fmt: skip
        self._torch = torch
        self._eager = eager
        self._compiled = compiled
        self._store = store
        self._exclusive = exclusive
        self.waiting = threading.Event()
        """Set while compiled code waits to be taken."""
        self._asked: queue.SimpleQueue[tuple[Call, list[Blank]]] = queue.SimpleQueue()
        self._known: set[Hashable] = set()
        self._ready: queue.SimpleQueue[Hashable] = queue.SimpleQueue()
        self._adopted: set[Hashable] = set()
        self._found_full: queue.SimpleQueue[Hashable] = queue.SimpleQueue()
        self._again_at: dict[Hashable, int] = {}
        self._batches = 0
        (start or _in_a_thread)(self._compile_for_ever)

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """The module's result."""
        call = taken_apart(self._torch, positional, named) if self._torch.is_inference_mode_enabled() else None
        if call is None:
            return self._eager(*positional, **named)
        if call.key in self._adopted:
            return self._compiled(*positional, **named)
        if call.key not in self._known and len(self._known) < MOST_FORMS:
            self._known.add(call.key)
            self._asked.put((call.without_contents(), call.blanks()))
        return self._eager(*positional, **named)

    def as_forward(self) -> Forward:
        """The same as a module's ``forward``, with the signature that diffusers looks at."""

        @functools.wraps(self._eager)
        def forward(*positional: Any, **named: Any) -> Any:
            return self(*positional, **named)

        return forward

    def adopt(self) -> bool:
        """Before a batch: take the compiled code for the forms that are ready now; whether there were any."""
        self._let_ask_again()
        self.waiting.clear()
        before = len(self._adopted)
        while not self._ready.empty():
            self._adopted.add(self._ready.get_nowait())
        return len(self._adopted) > before

    def _let_ask_again(self) -> None:
        self._batches += 1
        while not self._found_full.empty():
            self._again_at[self._found_full.get_nowait()] = self._batches + AGAIN_AFTER
        for key in [key for key, batch in self._again_at.items() if batch <= self._batches]:
            del self._again_at[key]
            self._known.discard(key)

    def compile_next(self) -> None:
        """Wait until a form is asked for, and compile it."""
        call, blanks = self._asked.get()
        size = "×".join(map(str, blanks[0].shape)) if blanks else "nothing"
        try:
            with self._exclusive, self._torch.inference_mode():
                positional, named = call.again(self._torch, [blank.filled(self._torch) for blank in blanks])
                self._compiled(*positional, **named)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being compiled, jobs run without
            traceback.clear_frames(error.__traceback__)
            self._give_up(call.key, size, error)
            return
        log.info("the denoiser of %s is compiled; jobs take it from the next one on", size)
        self._store.save()
        self._ready.put(call.key)
        self.waiting.set()

    def _give_up(self, key: Hashable, size: str, error: Exception) -> None:
        if is_full(self._torch, error):
            log.info("the denoiser of %s finds no memory to be compiled in, and runs as it is until it is tried again", size)
            self._found_full.put(key)
        else:
            log.warning("the denoiser of %s cannot be compiled (%s) and runs as it is", size, type(error).__name__)

    def _compile_for_ever(self) -> None:
        while True:
            self.compile_next()


def _in_a_thread(body: Callable[[], None]) -> None:
    threading.Thread(target=body, name="compile", daemon=True).start()
