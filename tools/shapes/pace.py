"""How all parts learn: the rate warms up and fades out, and progress is told in words."""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

_WARM_UP = 100
_TELLS = 20
"""How often a part says how far it is."""
_LONGEST_STEP = 1.0
"""Largest length of a gradient."""


class Pace:
    """Iterate over it for the numbers of the steps, and call `learn` in each."""

    def __init__(self, name: str, parameters: Iterable[torch.nn.Parameter], steps: int, peak: float) -> None:
        self._name, self._steps = name, steps
        self._parameters = list(parameters)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=peak, betas=(0.9, 0.99), weight_decay=0.01)
        self._rates = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate)
        self._loss = 0.0

    def __iter__(self) -> Iterator[int]:
        """0, 1, ... as many as there are steps."""
        started = time.process_time()
        for step in range(self._steps):
            yield step
            if (step + 1) % max(1, self._steps // _TELLS) == 0:
                seconds = time.process_time() - started
                print(f"{self._name}: step {step + 1} of {self._steps}, loss {self._loss:.4f}, {seconds:.0f} s", file=sys.stderr)

    def learn(self, loss: torch.Tensor) -> None:
        """One step downhill."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, _LONGEST_STEP)
        self._optimizer.step()
        self._rates.step()
        value = float(loss.detach())
        self._loss = value if self._loss == 0 else 0.95 * self._loss + 0.05 * value

    def _rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / _WARM_UP)
        return warm * (0.02 + 0.98 * (1 + math.cos(math.pi * step / self._steps)) / 2)


def average(model: Any, decay: float = 0.995) -> Any:
    """A running average of the weights: it draws better than the last weights do. Its `module` is the model."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
