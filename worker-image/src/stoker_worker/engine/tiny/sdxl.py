"""A tiny SDXL, with the scheduler of SDXL-Turbo."""

from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

from stoker_worker.engine.tiny.text import HIDDEN, clip_text, clip_tokenizer


def build() -> StableDiffusionXLPipeline:
    """The pipeline."""
    tokenizer = clip_tokenizer()
    return StableDiffusionXLPipeline(
        vae=picture_vae(),
        text_encoder=clip_text(len(tokenizer)),
        text_encoder_2=clip_text(len(tokenizer), projection=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_unet(),
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
        force_zeros_for_empty_prompt=True,
    )


def picture_vae() -> AutoencoderKL:
    """The autoencoder of SDXL and Stable Diffusion 1: four channels, and here a half of each side."""
    return AutoencoderKL(
        block_out_channels=[32, 64],
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        sample_size=64,
    )


def _unet() -> UNet2DConditionModel:
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
        projection_class_embeddings_input_dim=6 * 8 + HIDDEN,
        cross_attention_dim=2 * HIDDEN,
    )
