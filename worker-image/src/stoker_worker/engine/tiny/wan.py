"""A tiny Wan 2.1, image to video."""

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from transformers import CLIPImageProcessor, CLIPVisionModel

from stoker_worker.engine.tiny.svd import vision_config
from stoker_worker.engine.tiny.text import HIDDEN, t5_text, t5_tokenizer


def build() -> WanImageToVideoPipeline:
    """The pipeline."""
    t5 = t5_tokenizer()
    return WanImageToVideoPipeline(
        tokenizer=t5,
        text_encoder=t5_text(len(t5), multilingual=True),
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        image_processor=CLIPImageProcessor(crop_size=224, size=224),
        image_encoder=CLIPVisionModel(vision_config()).eval(),
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=36,
            out_channels=16,
            text_dim=HIDDEN,
            freq_dim=256,
            ffn_dim=32,
            num_layers=2,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
            image_dim=HIDDEN,
        ),
    )
