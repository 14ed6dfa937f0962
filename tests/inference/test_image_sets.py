"""Metrics of two sets of images: of pairs at their own sizes, and of sets prepared alike."""

import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.inference import image_sets
from gan_jax.metrics import extractors
from tests.metrics import stub

RNG = np.random.default_rng(0)


@pytest.fixture
def quarters(tmp_path, monkeypatch):
    """Register an extractor of our own, and keep its cache apart."""
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(extractors.EXTRACTORS, "quarters", lambda setting: stub.extractor())


def save(path, pixels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_pairs_of_several_sizes_are_each_compared_at_their_own(tmp_path):
    """Two stems with dots, whose order differs with their suffixes."""
    expected = []
    for i, (stem, shape) in enumerate({"s": (16, 20), "s.night": (24, 16), "t": (16, 20)}.items()):
        pixels = RNG.integers(0, 200, (*shape, 3)).astype(np.uint8)
        shift = 5 * (i + 1)
        expected.append(20 * np.log10(255 / shift))
        for folder, change, suffix in (("a", 0, "bmp"), ("b", shift, "png")):
            save(tmp_path / folder / f"{stem}.{suffix}", pixels + np.uint8(change))
    a, b = tmp_path / "a", tmp_path / "b"
    found = image_sets.measure(a, b, ["psnr", "ssim"])
    assert found.values["psnr"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert 0.9 < found.values["ssim"] < 1
    save(b / "t.png", np.zeros((8, 10, 3), np.uint8))
    with pytest.raises(errors.DataError, match=r"t\.bmp is 16x20x3, .*t\.png 8x10x3; .*nothing is"):
        image_sets.measure(a, b, ["psnr"])
    with pytest.raises(errors.ConfigError, match=r"--resolution with measures of pairs alone"):
        image_sets.measure(a, b, ["psnr"], resolution=16)


def test_sets_are_brought_to_one_size_alike(tmp_path, quarters):
    """Small images and the same in a black border differ, unless the former are padded too."""
    small, padded = tmp_path / "small", tmp_path / "padded"
    for i in range(12):
        pixels = RNG.integers(0, 256, (12, 12, 3)).astype(np.uint8)
        save(small / f"{i}.png", pixels)
        save(padded / f"{i}.png", np.pad(pixels, ((2, 2), (2, 2), (0, 0))))
    with pytest.raises(
        errors.ConfigError, match=r"padded are 16x16x3, those of small 12x12x3; acc"
    ):
        image_sets.measure(padded, small, ["quarters_fid"])
    found = {
        how: image_sets.measure(padded, small, ["quarters_fid"], resolution=16, resize=how)
        for how in ("pad", "resize")
    }
    assert found["pad"].values["quarters_fid"] == pytest.approx(0, abs=1e-3)
    assert found["resize"].values["quarters_fid"] > 0.01
    assert found["pad"].protocol["resize"] == "pad"
    save(padded / "12.png", RNG.integers(0, 256, (20, 16, 3)).astype(np.uint8))
    message = r"images of padded have 2 sizes, such as 16x16 and 20x16; .*--resolution"
    with pytest.raises(errors.ConfigError, match=message):
        image_sets.measure(padded, padded, ["quarters_fid"])


def test_grey_files_are_compared_with_colour_files_in_colour(tmp_path, capsys):
    grey = RNG.integers(0, 200, (12, 12)).astype(np.uint8)
    save(tmp_path / "a" / "0.png", grey)
    save(tmp_path / "b" / "0.png", (grey + np.uint8(10))[:, :, None].repeat(3, 2))
    (tmp_path / "b" / "0.heic").touch()
    found = image_sets.measure(tmp_path / "a", tmp_path / "b", ["psnr"])
    assert found.values["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    assert "not used of b: 1 .heic" in " ".join(capsys.readouterr().out.split())


def test_deep_pixels_of_both_sets_are_scaled_alike(tmp_path):
    """Of 11 bits and of 12 bits, each would be spread over its own range."""
    values = RNG.integers(0, 1000, (12, 12)).astype(np.uint16)
    for name, highest in (("a", 2000), ("b", 4000)):
        pixels = values.copy()
        pixels[0, 0] = highest
        save(tmp_path / name / "0.png", pixels)
    found = image_sets.measure(tmp_path / "a", tmp_path / "b", ["psnr"])
    error = (round(4000 / 4095 * 255) - round(2000 / 4095 * 255)) ** 2 / 144
    assert found.values["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
