"""Tiny pipelines with random weights, made in code: real pipelines through the real path, without a hub.

Sizes follow what diffusers' own tests use for SDXL and Stable Video Diffusion. Weights are drawn from a fixed seed, so the files
are the same everywhere. A picture takes 0.05 s on one CPU core and shows coloured noise.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    StableVideoDiffusionPipeline,
    UNet2DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from stoker_contracts.pipelines import Pipeline

MODEL_IDS = {pipeline: f"stoker/tiny-{pipeline.value}" for pipeline in Pipeline}
"""The ids under which the tiny models are stored and called."""
REVISION = "main"
_SEED = 0
_HIDDEN = 32


def write(directory: Path, pipeline: Pipeline) -> Path:
    """Store the tiny model of `pipeline` under `directory` in Hugging Face's cache layout; returns the snapshot's folder."""
    cached = directory / f"models--{MODEL_IDS[pipeline].replace('/', '--')}"
    snapshot = cached / "snapshots" / REVISION
    (cached / "refs").mkdir(parents=True, exist_ok=True)
    (cached / "refs" / "main").write_text(REVISION)
    torch.manual_seed(_SEED)
    _BUILDERS[pipeline]().save_pretrained(snapshot, safe_serialization=True)
    return snapshot


def _sdxl() -> Any:
    tokenizer = _tokenizer()
    text = _text_config(len(tokenizer))
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=[32, 64],
            in_channels=3,
            out_channels=3,
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            latent_channels=4,
            sample_size=64,
        ),
        text_encoder=CLIPTextModel(text).eval(),
        text_encoder_2=CLIPTextModelWithProjection(text).eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_sdxl_unet(),
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
        force_zeros_for_empty_prompt=True,
    )


def _sdxl_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=2,
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 8 + _HIDDEN,
        cross_attention_dim=2 * _HIDDEN,
    )


def _svd() -> Any:
    return StableVideoDiffusionPipeline(
        vae=AutoencoderKLTemporalDecoder(
            block_out_channels=[32, 64],
            in_channels=3,
            out_channels=3,
            down_block_types=["DownEncoderBlock2D"] * 2,
            latent_channels=4,
        ),
        image_encoder=CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=_HIDDEN,
                projection_dim=_HIDDEN,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=224,
                intermediate_size=37,
                patch_size=32,
            )
        ).eval(),
        unet=UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            sample_size=32,
            in_channels=8,
            out_channels=4,
            down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
            up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
            cross_attention_dim=_HIDDEN,
            num_attention_heads=2,
            projection_class_embeddings_input_dim=96,
            addition_time_embed_dim=32,
            num_frames=8,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear",
            interpolation_type="linear",
            prediction_type="v_prediction",
            sigma_max=700.0,
            sigma_min=0.002,
            timestep_spacing="leading",
            timestep_type="continuous",
            use_karras_sigmas=True,
        ),
        feature_extractor=CLIPImageProcessor(crop_size=224, size=224),
    )


def _text_config(vocabulary: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
        vocab_size=vocabulary,
        hidden_size=_HIDDEN,
        projection_dim=_HIDDEN,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=3,
        hidden_act="gelu",
    )


def _tokenizer() -> CLIPTokenizer:
    """A tokenizer of single bytes: every prompt is known to it."""
    symbols = _byte_symbols()
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(vocabulary)}, merges=[], model_max_length=77)


def _byte_symbols() -> list[str]:
    """The printable stand-ins for the 256 bytes that byte-level tokenizers use (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(hidden))]


_BUILDERS: dict[Pipeline, Callable[[], Any]] = {
    Pipeline.TEXT_TO_IMAGE: _sdxl,
    Pipeline.IMAGE_TO_IMAGE: _sdxl,
    Pipeline.IMAGE_TO_VIDEO: _svd,
}
