"""Mixes: what is taken, and how a bad entry is told."""

from pathlib import Path
from typing import Any

import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_worker.bench.failure import BenchError
from stoker_worker.bench.files import read_mix
from stoker_worker.bench.jobs import MixError, parse_mix, single

T2I, I2I, I2V = Pipeline.TEXT_TO_IMAGE, Pipeline.IMAGE_TO_IMAGE, Pipeline.IMAGE_TO_VIDEO
DEFAULTS = {"prompt": "p", "num_inference_steps": 4}


def test_an_entry_says_what_is_different_and_the_options_fill_in_the_rest() -> None:
    draft, final = parse_mix(T2I, [{"name": "draft", "weight": 3}, {"num_inference_steps": 30, "width": 1024}], DEFAULTS)

    assert (draft.name, draft.weight, draft.fields) == ("draft", 3, {"prompt": "p", "num_inference_steps": 4})
    assert (final.name, final.weight) == ("entry 2", 1)
    assert final.fields == {"prompt": "p", "num_inference_steps": 30, "width": 1024}


def test_nothing_is_sent_that_nobody_said() -> None:
    assert single(I2V, {"fps": 7}).fields == {"fps": 7}


@pytest.mark.parametrize(
    ("pipeline", "fields", "size"),
    [
        (T2I, {"prompt": "p"}, (1024, 576)),
        (I2I, {"prompt": "p"}, (512, 512)),
        (I2I, {"prompt": "p", "width": 96}, (96, 512)),
        (I2V, {"width": 64, "height": 32}, (64, 32)),
    ],
)
def test_the_picture_that_goes_with_a_job_has_the_jobs_size(
    pipeline: Pipeline, fields: dict[str, Any], size: tuple[int, int]
) -> None:
    assert single(pipeline, fields).size == size


def test_the_size_of_an_input_picture_is_no_field_of_its_job() -> None:
    assert single(I2I, {"prompt": "p", "width": 96, "height": 96}).fields == {"prompt": "p"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weight": 1}, "a mix is a list with at least one entry"),
        ([], "a mix is a list with at least one entry"),
        ([{}, 3], "entry 2: it must be a mapping of the job's fields"),
        ([{}, {"weight": -1}], "entry 2: weight must be a number from 0 on"),
        ([{"weight": True}], "entry 1: weight must be a number"),
        ([{"weight": float("nan")}], "entry 1: weight must be a number"),
        ([{"weight": "3"}], "entry 1: weight must be a number"),
        ([{"weight": 0}, {"weight": 0}], "every weight is 0"),
        ([{}, {}, {"steps": 3}], "entry 3: text-to-image has no field steps; it has guidance_scale, "),
        ([{"seed": 3}], "entry 1: seed cannot be said here, --seed decides"),
        ([{"model_id": "x"}], "entry 1: model_id cannot be said here, --model-id decides"),
        ([{}, {"width": 5000}], "entry 2: width: Input should be less than or equal to 4096"),
        ([{}, {"name": "a"}, {"name": "a"}], "entry 3: another entry is called a as well"),
    ],
)
def test_a_bad_mix_is_refused_with_the_number_of_its_entry(content: Any, words: str) -> None:
    with pytest.raises(MixError) as error:
        parse_mix(T2I, content, DEFAULTS)

    assert str(error.value).startswith(words)


def test_an_input_picture_keeps_to_the_bounds_of_sides() -> None:
    with pytest.raises(MixError, match="entry 1: width: Input should be greater"):
        parse_mix(I2I, [{"width": 1}], DEFAULTS)


def test_a_mix_may_be_yaml_or_json(tmp_path: Path) -> None:
    yaml, json = tmp_path / "mix.yaml", tmp_path / "mix.json"
    yaml.write_text("- {name: a, weight: 2}\n- name: b\n  width: 64\n")
    json.write_text('[{"name": "a", "weight": 2}, {"name": "b", "width": 64}]')

    assert read_mix(yaml) == read_mix(json) == [{"name": "a", "weight": 2}, {"name": "b", "width": 64}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- {name: a\n- b", "mix.yaml, line 2: the mix is neither YAML nor JSON."),
        (b"\xff\xfe\xfa", "mix.yaml: the mix is neither YAML nor JSON."),
        (b"", "mix.yaml: the mix is empty."),
    ],
)
def test_a_file_that_is_no_mix_is_named_with_the_line(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "mix.yaml"
    file.write_bytes(content)

    with pytest.raises(BenchError) as error:
        read_mix(file)
    assert error.value.message == words
