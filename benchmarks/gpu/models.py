"""Models of the true size with random weights, and the tiny ones for a rehearsal.

Sizes are the public configurations of the models; they give the published numbers of parameters. What is not a network (tokenizer,
scheduler) is that of the tiny models. Matrices are drawn from a normal distribution of width 0.02 and norms stay as they are made:
zeros would run cooler and faster than real weights, and uninitialised memory holds values that are no numbers.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.start.folders import INDEX

_WIDTH = 0.02
_SDXL_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "layers_per_block": 2,
}
_UPWARDS = {"up_block_types": ("UpDecoderBlock2D",) * 4}


@dataclass(frozen=True, slots=True)
class Stage:
    """Where and how large: the true sizes on a card, or tiny ones on a CPU. `seconds` are those that the measurement may take."""

    torch: Any
    device: str
    folder: Path
    seconds: float
    rounds: int
    video_steps: int = 25

    @property
    def true_size(self) -> bool:
        """False in a rehearsal."""
        return self.device == "cuda"

    def pick(self, true: int, tiny_one: int) -> int:
        """A size."""
        return true if self.true_size else tiny_one


def sdxl_turbo(stage: Stage) -> tuple[str, Path]:
    """The id and the MODEL_DIR of SDXL-Turbo: 3.5 billion parameters in float16."""
    return _written(stage, "stabilityai/sdxl-turbo", Pipeline.TEXT_TO_IMAGE, _sdxl)


def svd_xt(stage: Stage) -> tuple[str, Path]:
    """The id and the MODEL_DIR of Stable Video Diffusion XT: 2.3 billion parameters in float16."""
    return _written(stage, "stabilityai/stable-video-diffusion-img2vid-xt", Pipeline.IMAGE_TO_VIDEO, _svd)


def flux(stage: Stage) -> Any:
    """FLUX.1-dev without its text encoders, whose results are given: 12 billion parameters in bfloat16, on the device."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel  # noqa: PLC0415

    small = {"num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2, "in_channels": 16,
             "joint_attention_dim": 32, "pooled_projection_dim": 32, "axes_dims_rope": (4, 4, 8)}  # fmt: skip
    with _made_on(stage, stage.torch.bfloat16 if stage.true_size else stage.torch.float32):
        transformer = FluxTransformer2DModel(guidance_embeds=True, **({} if stage.true_size else small))
        channels = stage.pick(16, 4)
        sizes = _SDXL_VAE | _UPWARDS if stage.true_size else {"block_out_channels": (32,)}
        vae = AutoencoderKL(latent_channels=channels, use_quant_conv=False, use_post_quant_conv=False, force_upcast=True,
                            shift_factor=0.1159, scaling_factor=0.3611, **sizes)  # fmt: skip
    for module in (transformer, vae):
        _randomise(stage, module)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    pipe = FluxPipeline(scheduler, vae, None, None, None, None, transformer)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _written(stage: Stage, model_id: str, pipeline: Pipeline, enlarge: Callable[[Stage, Any], None]) -> tuple[str, Path]:
    import diffusers  # noqa: PLC0415 - `--help` must not wait for it

    if (stage.folder / model_id / INDEX).is_file():
        return model_id, stage.folder
    with tempfile.TemporaryDirectory(dir=stage.folder) as scratch:
        made = diffusers.DiffusionPipeline.from_pretrained(tiny.write(Path(scratch), pipeline), local_files_only=True)
        if stage.true_size:
            enlarge(stage, made)
        made.save_pretrained(stage.folder / model_id, safe_serialization=True)
    return model_id, stage.folder


def _sdxl(stage: Stage, pipe: Any) -> None:
    _replace(stage, pipe, sdxl_networks(stage, len(pipe.tokenizer), TRUE_WIDTHS))


@dataclass(frozen=True, slots=True)
class Widths:
    """Sizes of SDXL's networks that say nothing of how many modules they have: of hidden states, and channels with their heads."""

    text_encoder: int
    text_encoder_2: int
    unet: tuple[int, int, int]
    heads: tuple[int, int, int]
    vae: tuple[int, int, int, int]


TRUE_WIDTHS = Widths(768, 1280, (320, 640, 1280), (5, 10, 20), _SDXL_VAE["block_out_channels"])


def sdxl_networks(stage: Stage, words: int, widths: Widths) -> dict[str, Any]:
    """SDXL's networks in float16 on the device, as deep as they are and of these widths; `words` are those of the tokenizers."""
    from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: PLC0415
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection  # noqa: PLC0415

    marks = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    one, two = widths.text_encoder, widths.text_encoder_2
    small = CLIPTextConfig(hidden_size=one, intermediate_size=4 * one, num_hidden_layers=12, num_attention_heads=12, **marks)
    large = CLIPTextConfig(hidden_size=two, intermediate_size=4 * two, num_hidden_layers=32, num_attention_heads=20,
                           hidden_act="gelu", projection_dim=two, **marks)  # fmt: skip
    vae = _SDXL_VAE | _UPWARDS | {"block_out_channels": widths.vae}
    with _made_on(stage, stage.torch.float16):
        return {
            "text_encoder": CLIPTextModel(small),
            "text_encoder_2": CLIPTextModelWithProjection(large),
            "vae": AutoencoderKL(latent_channels=4, scaling_factor=0.13025, **vae),
            "unet": UNet2DConditionModel(
                sample_size=64, block_out_channels=widths.unet, layers_per_block=2, attention_head_dim=widths.heads,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10), cross_attention_dim=one + two, use_linear_projection=True,
                addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=two + 6 * 256,
            ),
        }  # fmt: skip


def _svd(stage: Stage, pipe: Any) -> None:
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel  # noqa: PLC0415
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # noqa: PLC0415

    seen = CLIPVisionConfig(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, patch_size=14,
                            projection_dim=1024, hidden_act="gelu")  # fmt: skip
    with _made_on(stage, stage.torch.float16):
        parts = {
            "image_encoder": CLIPVisionModelWithProjection(seen),
            "unet": UNetSpatioTemporalConditionModel(num_frames=25),
            "vae": AutoencoderKLTemporalDecoder(latent_channels=4, **_SDXL_VAE),
        }
    _replace(stage, pipe, parts)


def _replace(stage: Stage, pipe: Any, parts: dict[str, Any]) -> None:
    for module in parts.values():
        _randomise(stage, module)
    pipe.register_modules(**{name: module.eval() for name, module in parts.items()})


def _randomise(stage: Stage, module: Any) -> None:
    """Draw the matrices anew, on the device: some parts are built without regard to where."""
    module.to(stage.device)
    made = stage.torch.Generator(stage.device).manual_seed(0)
    with stage.torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, _WIDTH, generator=made)


@contextmanager
def _made_on(stage: Stage, dtype: Any) -> Iterator[None]:
    before = stage.torch.get_default_dtype()
    stage.torch.set_default_dtype(dtype)
    try:
        with stage.torch.device(stage.device):
            yield
    finally:
        stage.torch.set_default_dtype(before)
