"""A tiny Stable Diffusion 1.5, without its safety checker."""

from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from stoker_worker.engine.tiny.sdxl import picture_vae
from stoker_worker.engine.tiny.text import HIDDEN, clip_text, clip_tokenizer


def build() -> StableDiffusionPipeline:
    """The pipeline. Its scheduler is the published one, which remembers earlier steps."""
    tokenizer = clip_tokenizer()
    return StableDiffusionPipeline(
        vae=picture_vae(),
        text_encoder=clip_text(len(tokenizer)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            sample_size=32,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=4,
            cross_attention_dim=HIDDEN,
        ),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
