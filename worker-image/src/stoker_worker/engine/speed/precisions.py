"""A VAE that pipelines turn to float32 and back in each call: back in any case, and without converting its weights each time.

SDXL's and Stable Video Diffusion's float16 VAEs overflow, so their pipelines call ``vae.to(float32)``, decode, and call
``vae.to(float16)`` (diffusers 0.42, ``force_upcast``). Each conversion writes all weights anew, at other addresses, which also
makes every recorded graph worthless. Here each precision is made once and stays, at the cost of both in memory: 0.5 GB for
SDXL's.

A call that fails in between leaves the VAE in float32, and its pipeline takes that for a VAE that needs no turning: float16 latents
meet float32 weights from then on.
"""

from typing import Any


class Formats:
    """The number formats in which a module's parameters were loaded."""

    def __init__(self, module: Any) -> None:
        self._loaded = [(parameter, parameter.dtype) for parameter in module.parameters()]

    def restore(self) -> None:
        """Turn back what a failed call has left in another one. Exact where it was widened, which is all that pipelines do."""
        for parameter, dtype in self._loaded:
            if parameter.dtype != dtype:
                parameter.data = parameter.data.to(dtype)


class Precisions:
    """Stands in for ``module.to``. Its numbers are those of converting: float16 to float32 and back is exact."""

    def __init__(self, torch: Any, module: Any) -> None:
        self._torch = torch
        self._module = module
        self._moved = module.to
        self._parameters = list(module.parameters())
        self._made: dict[Any, list[Any]] = {}
        module.to = self._to

    @staticmethod
    def turned_in_each_call(torch: Any, module: Any) -> bool:
        """Whether pipelines turn this module to float32 and back."""
        return module.dtype == torch.float16 and bool(getattr(module.config, "force_upcast", False))

    def forget(self) -> None:
        """Let go of the precision that is not in use."""
        self._made.clear()

    def _to(self, *positional: Any, **named: Any) -> Any:
        wanted = named.get("dtype") if named.keys() == {"dtype"} and not positional else None
        if wanted not in (self._torch.float16, self._torch.float32):
            self.forget()
            return self._moved(*positional, **named)
        before = self._module.dtype
        if wanted == before:
            return self._module
        held = [parameter.data for parameter in self._parameters]
        if wanted in self._made:
            for parameter, data in zip(self._parameters, self._made[wanted], strict=True):
                parameter.data = data
        else:
            self._moved(dtype=wanted)  # where memory ends on the way, nothing is kept of it
        self._made[before] = held
        return self._module
