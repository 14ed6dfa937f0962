"""The size that images are trained at, where the configuration leaves it unset."""

import numpy as np
import pytest
from PIL import Image

from gan_jax.data import sources
from gan_jax.data.sources import folder
from gan_jax.errors import ConfigError
from gan_jax.runs import fitting
from tests.configs import variants


def fit(tmp_path, sizes, name="dcgan", mode="L", **fields):
    """Return ``config.data`` of a folder of images of some sizes, height first, and its source."""
    for k, (height, width) in enumerate(sizes):
        Image.new(mode, (width, height)).save(tmp_path / f"{k}.png")
    config = variants.load(name, "folder")
    config.data.update(path=str(tmp_path), **fields)
    fitted, source = fitting.fitted(config)
    assert sources.make_source(fitted.data).fingerprint() == source.fingerprint()
    return fitted.data, source


@pytest.mark.parametrize(
    ("name", "sizes", "fields", "expected"),
    [
        ("dcgan", [(28, 28)], {}, 28),
        ("dcgan", [(64, 64)], {}, 64),
        ("dcgan", [(100, 100)], {}, 96),
        ("dcgan", [(48, 64)], {}, (48, 64)),
        ("dcgan", [(64, 200), (66, 70), (40, 40), (300, 300), (60, 80)], {}, 64),
        ("dcgan", [(28, 28), (20, 30)], {"resize": "pad"}, (28, 32)),
        ("dcgan", [(37, 50), (45, 41)], {"resize": "crop"}, (32, 40)),
        ("gan", [(37, 23)], {}, (37, 23)),
        ("lapgan", [(100, 60)], {}, 64),
        ("dcgan", [(300, 400)], {}, (192, 256)),
        ("dcgan", [(300, 400), (500, 600)], {}, 256),
        ("dcgan", [(512, 512)], {"resize": "crop"}, 256),
    ],
)
def test_the_nearest_size_that_the_networks_make(tmp_path, name, sizes, fields, expected):
    data, source = fit(tmp_path, sizes, name, **fields)
    assert data.resolution == expected
    assert source.shape[:2] == ((expected, expected) if isinstance(expected, int) else expected)
    assert source.shape[2] == 1
    assert not data.flip


def test_large_images_are_brought_to_a_size_that_is_stated(tmp_path, monkeypatch):
    listed = []
    whole = folder.images_in
    monkeypatch.setattr(folder, "images_in", lambda *a: listed.append(a) or whole(*a))
    Image.new("RGB", (400, 300), "red").save(tmp_path / "a.png")
    config = variants.load("dcgan", "folder")
    config.data.path = str(tmp_path)
    fitted, source = fitting.fitted(config)
    # One listing is enough.
    assert len(listed) == 1
    assert source.notes == (
        "of 300x400",
        "brought to 192x256 (data.resolution unset: 256 at most)",
    )
    assert source[0]["image"].shape == source.shape == (192, 256, 3)
    assert sources.make_source(fitted.data).fingerprint() == source.fingerprint()
    config.data.resize = "pad"
    with pytest.raises(ConfigError, match=r"resolution is unset.*300x400; accepted: a size"):
        fitting.fitted(config)


def test_what_a_camera_has_turned_has_its_seen_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "x.jpg", exif=exif)
    assert fit(tmp_path, [(64, 48)])[0].resolution == (64, 48)


def test_halves_are_fitted_one_by_one(tmp_path):
    fields = {"resolution": None, "crop": None, "channels": 3}
    data, source = fit(tmp_path, [(64, 128)], "pix2pix", "RGB", **fields)
    assert (data.resolution, source.spec["a"].shape) == (256, (256, 256, 3))
    # Large images stay so where crops of them are trained on.
    for crop, size in ((None, 256), (256, 512)):
        fields["crop"] = crop
        assert fit(tmp_path, [(512, 1024)], "pix2pix", "RGB", **fields)[0].resolution == size


def test_a_size_that_is_given_and_other_mistakes_stay(tmp_path):
    assert fit(tmp_path, [(28, 28)], resolution=16)[0].resolution == 16
    with pytest.raises(ConfigError, match=r"generator\.conditioning = 'concat' needs classes"):
        fit(tmp_path, [(28, 28)], "cgan")


def test_arrays_are_fitted(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 31, 31, 5), np.uint8))
    config = variants.load("dcgan", "npz")
    config.data.path = str(tmp_path / "a.npz")
    fitted, source = fitting.fitted(config)
    assert (fitted.data.resolution, fitted.data.channels, source.shape) == (32, 5, (32, 32, 5))


def test_a_grey_split_of_a_set_in_colour_is_in_colour(tmp_path):
    for split, mode in {"train": "RGB", "test": "L"}.items():
        (tmp_path / split).mkdir()
        Image.new(mode, (8, 8)).save(tmp_path / split / "a.png")
    config = variants.load("dcgan", "folder")
    config.data.path = str(tmp_path)
    data = fitting.fitted(config)[0].data
    data.split = "test"
    assert sources.make_source(data).shape == (8, 8, 3)
