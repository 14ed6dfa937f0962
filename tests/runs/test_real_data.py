"""Whole runs on real data where it lies: TFDS without TensorFlow, and a zip of photographs."""

import numpy as np
import pytest
from PIL import Image

from configs import gan
from gan_jax.runs import loop, run_directory
from tests.real_data import find

pytestmark = pytest.mark.slow


def small(arg):
    config = gan.get_config(arg)
    config.num_devices = 1
    config.data.resolution = 32
    config.train.update(steps=2, log_every=1, sample_every=2, checkpoint_every=2)
    return config


def test_fashion_mnist_by_tfds(tmp_path):
    config = small("fashion_mnist,smoke")
    # The smaller split: decoding all 60,000 is tested, and timed, elsewhere.
    config.data.update(data_dir=str(find("tfds")), split="test", device_cache_gib=2.0, workers=0)
    assert loop.train(config, tmp_path).state == "done"
    data = run_directory.RunDirectory(tmp_path).read_data()
    assert (data["size"], data["spec"]["image"]["shape"]) == (10_000, [32, 32, 1])
    classes = data["spec"]["label"]["class_names"]
    assert len(classes) == 10
    assert "Ankle boot" in classes


def test_photographs_in_a_zip(tmp_path):
    config = small("folder,smoke")
    config.data.update(path=str(find("faces_64.zip")), device_cache_gib=0.0, workers=0)
    assert loop.train(config, tmp_path).state == "done"
    data = run_directory.RunDirectory(tmp_path).read_data()
    assert (data["size"], data["spec"]["image"]["shape"]) == (9_780, [32, 32, 3])
    with Image.open(tmp_path / "samples/00000002.png") as picture:
        assert picture.mode == "RGB"
        assert np.asarray(picture).std() > 0
