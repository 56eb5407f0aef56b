"""What a job costs: units that its request declares, and the seconds that such units were seen to take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker_contracts.jobs import MAX_IMAGES, MAX_SIDE, MAX_STEPS
from stoker_contracts.pipelines import FACTS, Pipeline

_MEGAPIXEL = 1_000_000


def declared_cost(pipeline: Pipeline, fields: Mapping[str, Any]) -> float:
    """Steps × megapixels × images × frames. What a request leaves out, or says badly, counts as Livepeer's default.

    What is more than any worker takes counts as the most that one takes: such a job is refused there, and must not seem to fill a
    line until then.
    """
    facts = FACTS[pipeline]
    steps = _number(fields, "num_inference_steps", facts.default_steps, MAX_STEPS)
    pixels = _number(fields, "width", 1024, MAX_SIDE) * _number(fields, "height", 576, MAX_SIDE)
    images = _number(fields, "num_images_per_prompt", 1, MAX_IMAGES)
    strength = _number(fields, "strength", facts.default_strength, 1) if pipeline is Pipeline.IMAGE_TO_IMAGE else 1.0
    return steps * strength * pixels / _MEGAPIXEL * images * facts.frames


_MEMORY = 0.9
"""What one more job leaves of the weight of those before it: the last ten or so count."""
_BELIEVED = 2.0
"""How many times as long as expected a job is taken to have cost, at most: one that took far longer tells that its worker stood
still, and must not make all jobs of its model seem dear. What has truly become dearer is learnt from a few jobs more. That jobs are
expected to take more than so many times what one took is never believed, for nothing makes a worker faster than it is."""
FAR_LESS = 1 / _BELIEVED
"""A job that took a smaller share of what was expected than this has proven that all were expected to take too long."""
_UNKNOWN_SECONDS_PER_UNIT = 0.05
"""Before anything was seen. A step of a megapixel takes SDXL about so long on a card of 2022."""

_RATE = 3
"""What is told of a rate: the model, seconds and cost."""


@dataclass(slots=True)
class _Seen:
    """Decayed sums over the jobs that were seen; long jobs weigh as much as they cost."""

    seconds: float = 0.0
    cost: float = 0.0


class Rates:
    """How many seconds one unit of declared cost takes, by model, learnt from the jobs that ended well."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def observe(self, model: str, cost: float, seconds: float) -> float:
        """A job of this declared cost took so long on its worker; returns how that compares to what was expected (2: twice)."""
        seen = self._seen.get(model)
        if seen is None:
            seen = self._seen[model] = _Seen()
        expected = cost * seen.seconds / seen.cost if seen.cost else 0.0
        credible = seconds
        if expected > 0:
            credible = min(seconds, _BELIEVED * expected)
            seen.seconds *= min(1.0, _BELIEVED * seconds / expected)
        seen.seconds = seen.seconds * _MEMORY + credible
        seen.cost = seen.cost * _MEMORY + cost
        return seconds / expected if expected > 0 else 1.0

    def known(self, model: str) -> bool:
        """Whether any job of the model was seen."""
        return model in self._seen

    def per_unit(self, model: str) -> float:
        """Seconds per unit."""
        seen = self._seen.get(model)
        return seen.seconds / seen.cost if seen is not None and seen.cost > 0 else _UNKNOWN_SECONDS_PER_UNIT

    def seconds(self, model: str, cost: float) -> float:
        """How long so many units are expected to take on one worker."""
        return cost * self.per_unit(model)

    def known_rates(self) -> list[list[Any]]:
        """What was learnt, as JSON; `learn` takes it in elsewhere."""
        return [[model, seen.seconds, seen.cost] for model, seen in self._seen.items()]

    def learn(self, rates: list[list[Any]]) -> None:
        """Take over what another one learnt, in the place of what is known here. Other shapes of it are another release's."""
        self._seen = {rate[0]: _Seen(*rate[1:]) for rate in rates if len(rate) == _RATE}

    def forget(self, model: str) -> None:
        """The model is no longer offered."""
        self._seen.pop(model, None)


def _number(fields: Mapping[str, Any], key: str, default: float, most: float) -> float:
    given = fields.get(key)
    if given is None:
        return default
    try:
        value = float(given)
    except (TypeError, ValueError):
        return default
    return min(value, most) if value > 0 else default
