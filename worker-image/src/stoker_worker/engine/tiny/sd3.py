"""A tiny Stable Diffusion 3: two CLIP encoders and a T5."""

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

from stoker_worker.engine.tiny.text import HIDDEN, clip_text, clip_tokenizer, t5_text, t5_tokenizer


def build() -> StableDiffusion3Pipeline:
    """The pipeline."""
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=32,
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=HIDDEN,
            pooled_projection_dim=2 * HIDDEN,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKL(
            block_out_channels=(4, 8),
            norm_num_groups=4,
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            shift_factor=0.0609,
            scaling_factor=1.5035,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=clip_text(len(clip), projection=True),
        tokenizer=clip,
        text_encoder_2=clip_text(len(clip), projection=True),
        tokenizer_2=clip,
        text_encoder_3=t5_text(len(t5)),
        tokenizer_3=t5,
    )
