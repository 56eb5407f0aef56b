"""Pictures that jobs carry."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stoker_worker.bench.failure import BenchError
from stoker_worker.bench.pictures import made_picture, picture, picture_file


def test_the_made_picture_is_a_png_of_the_asked_size() -> None:
    with Image.open(io.BytesIO(picture_file((96, 40), None))) as made:
        assert (made.format, made.size) == ("PNG", (96, 40))


def test_the_made_picture_is_the_same_every_time_and_neither_flat_nor_noise() -> None:
    one, two = (np.asarray(made_picture((64, 64)), dtype=float) for _ in range(2))

    assert (one == two).all()
    assert one.std() > 20
    assert np.abs(np.diff(one, axis=0)).mean() < 20


def test_a_given_picture_is_sent_as_it_is_and_seen_as_workers_see_it(tmp_path: Path) -> None:
    Image.new("RGBA", (48, 24), "red").save(file := tmp_path / "in.png")

    assert picture_file((64, 64), file) == file.read_bytes()
    assert (picture((64, 64), file).size, picture((64, 64), file).mode) == ((48, 24), "RGB")


def test_a_file_that_no_worker_takes_is_refused(tmp_path: Path) -> None:
    (file := tmp_path / "in.png").write_bytes(b"no picture")

    for read in (picture, picture_file):
        with pytest.raises(BenchError, match="--image: the image cannot be read"):
            read((64, 64), file)
