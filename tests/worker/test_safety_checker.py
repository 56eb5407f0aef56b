"""A Stable Diffusion 1.5 whose weights bring a checker, which blackens what it flags."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessorPil

from stoker_contracts.jobs import TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import Row, Unheard
from stoker_worker.engine.start.pipeline import Model

pytestmark = pytest.mark.torch

SIDE = 32
JOB = TextToImage(prompt="a red circle", width=64, height=64, num_inference_steps=2)
SEEDS = range(6)


def checker() -> StableDiffusionSafetyChecker:
    """Of the published one's class, with random weights and one concept that counts."""
    layers = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 16}
    made = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=layers, vision_config=layers | {"image_size": SIDE, "patch_size": 16}, projection_dim=16)
    )
    made.concept_embeds.data.normal_()
    made.concept_embeds_weights.data.fill_(2.0)  # no cosine is as large
    made.special_care_embeds_weights.data.fill_(2.0)
    return made


def pictures(pipe: StableDiffusionPipeline) -> torch.Tensor:
    return torch.cat(
        [
            pipe(
                "a red circle",
                width=64,
                height=64,
                num_inference_steps=2,
                generator=torch.Generator().manual_seed(seed),
                output_type="pt",
            ).images
            for seed in SEEDS
        ]
    )


def flag_some(pipe: StableDiffusionPipeline) -> None:
    """Move the checker's bound in between what its concept says of the pictures, where they are the furthest apart."""
    seen = pipe.feature_extractor(pipe.image_processor.postprocess(pictures(pipe), output_type="pil"), return_tensors="pt")
    network = pipe.safety_checker
    with torch.inference_mode():
        embedded = network.visual_projection(network.vision_model(seen.pixel_values)[1])
        cosines = torch.cosine_similarity(embedded, network.concept_embeds[:1]).sort().values
    gap = int(cosines.diff().argmax())
    network.concept_embeds_weights.data[0] = (cosines[gap] + cosines[gap + 1]) / 2


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models' folder with a checked model, its weights under the names that the published ones have."""
    folder = tmp_path_factory.mktemp("models")
    snapshot = tiny.write(folder, Pipeline.TEXT_TO_IMAGE, "sd15")
    plain = StableDiffusionPipeline.from_pretrained(snapshot)
    torch.manual_seed(0)
    size = {"height": SIDE, "width": SIDE}
    parts = {"safety_checker": checker(), "feature_extractor": CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)}
    pipe = StableDiffusionPipeline(**plain.components | parts)
    flag_some(pipe)
    pipe.save_pretrained(snapshot, safe_serialization=True)
    weights = snapshot / "safety_checker" / "model.safetensors"
    published = {name.replace("vision_model.", "vision_model.vision_model.", 1): part for name, part in load_file(weights).items()}
    save_file(published, weights, {"format": "pt"})
    return folder


def test_what_the_models_checker_flags_is_black_and_said_to_be_and_nothing_else_is(stored: Path) -> None:
    engine = DiffusersEngine(Model(Pipeline.TEXT_TO_IMAGE, tiny.model_id(Pipeline.TEXT_TO_IMAGE, "sd15"), stored, "cpu"))
    engine.load(lambda _name, _seconds: None)

    outcome = engine.run([Row(JOB, seed) for seed in SEEDS], Unheard())

    black = {number for number, made in enumerate(outcome.rows) if isinstance(made, list) and not made[0].any()}
    assert outcome.nsfw == black
    assert 0 < len(black) < len(SEEDS)
