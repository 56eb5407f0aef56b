"""From the tensors of a pipeline to the bytes of pictures."""

from typing import Any

from stoker_worker.engine.protocol import BrokenResultError, Made


def pixels(torch: Any, tensor: Any) -> list[Made | BrokenResultError]:
    """Rows × pictures × channels × height × width in 0..1, as bytes; a row that is no number is an error and no black picture.

    The bytes are those of diffusers' own way to pictures: it denormalizes in the model's format (``output_type="pt"`` is what
    comes of that), then rounds in float32, halves to even. All of it runs on the device, and one copy brings the bytes.
    """
    finite = torch.isfinite(tensor).flatten(1).all(dim=1)
    on_device = tensor.float().mul(255).round_().to(torch.uint8).movedim(2, -1).contiguous()
    on_host = torch.empty(on_device.shape, dtype=torch.uint8, pin_memory=on_device.is_cuda)
    on_host.copy_(on_device, non_blocking=True)
    whole = finite.tolist()  # waits for the device, and so for the copy before it
    return [list(row) if good else _broken() for row, good in zip(on_host.numpy(), whole, strict=True)]


def _broken() -> BrokenResultError:
    return BrokenResultError("the model produced values that are no numbers; try another seed or size")
