"""Pairs of two sizes: their factor, the parts of both that belong together, and a training."""

import jax
import numpy as np
import pytest
from PIL import Image

from configs import srgan
from gan_jax.data import spec as specs
from gan_jax.data.sources import make_source
from gan_jax.errors import ConfigError, DataError
from gan_jax.games.translation import Direction
from gan_jax.runs import loop
from gan_jax.runs.run import open_run
from gan_jax.training import translating
from gan_jax.training.preparation import Prepare
from tests.inference.convolver import Convolver


def write(root, sizes, factor=2):
    """Write images of random pixels to B, and to A every ``factor``-th pixel of them."""
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes):
        small = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        large = small.repeat(factor, 0).repeat(factor, 1)
        for name, pixels, suffix in (("A", small, "bmp"), ("B", large, "png")):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / name / f"{i}.{suffix}")
    return root


@pytest.fixture
def config_of(data_config):
    def make(root, **fields):
        fields = {"pairing": "twins", "scale": None, **fields}
        return data_config(name="folder", path=str(root), **fields)

    return make


def belong(pair, factor=2):
    """Assert that images of ``a``, enlarged, are those of ``b``."""
    enlarged = np.asarray(pair["a"]).repeat(factor, -3).repeat(factor, -2)
    np.testing.assert_array_equal(enlarged, pair["b"])


@pytest.mark.parametrize(("resize", "resolution"), [("resize", None), ("crop", 8), ("tile", 16)])
def test_the_factor_is_that_of_the_files(tmp_path, config_of, resize, resolution):
    root = write(tmp_path, [(12, 12)] * 3)
    source = make_source(config_of(root, resize=resize, resolution=resolution))
    size = resolution or 24
    assert source.spec == {
        "a": specs.image((size // 2, size // 2, 3)),
        "b": specs.image((size, size, 3)),
    }
    assert specs.pair_scale(source.spec) == 2
    assert len(source) == 3 * (4 if resize == "tile" else 1)
    belong(source.read(range(len(source))))


def test_tiles_of_photographs_of_any_size_belong_together(tmp_path, config_of):
    # 7 and 9 leave odd remainders, of which the rounding may differ between the sizes.
    root = write(tmp_path, [(7, 9), (16, 4), (5, 31)], factor=4)
    source = make_source(config_of(root, resize="tile", resolution=16))
    assert len(source) == 2 * 3 + 4 + 2 * 8
    belong(source.read(range(len(source))), 4)
    (root / "B" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png is not an image"):
        make_source(config_of(root, resize="tile", resolution=16))
    fields = {"resize": "tile", "resolution": 16, "on_error": "skip"}
    source = make_source(config_of(root, **fields))
    assert len(source) == 2 * 3 + 2 * 8
    belong(source.read(range(len(source))), 4)


def test_one_size_is_made_of_two_unless_the_factor_is_asked_for(tmp_path, config_of):
    root = write(tmp_path, [(12, 12)] * 2)
    source = make_source(config_of(root, scale=1, resolution=8))
    assert source.spec == specs.pairs((8, 8, 3))
    with pytest.raises(DataError, match=r"shape \(12, 12, 3\), .* of \(24, 24, 3\)"):
        make_source(config_of(root, scale=1, resolution=None))
    for fields, message in [
        (
            {"scale": 3, "resolution": 24},
            r"data\.scale = 3; accepted: 2, the size of the images",
        ),
        ({"scale": 0}, r"data\.scale = 0; accepted: 1 or more"),
        ({"resolution": 9}, r"data\.resolution = 9; accepted: a multiple of 2, the factor"),
        ({"resize": "tile", "resolution": None}, r"data\.resolution = None; accepted: the size of"),
    ]:
        with pytest.raises(ConfigError, match=message):
            make_source(config_of(root, **fields))


@pytest.mark.parametrize(("height", "width"), [(23, 24), (36, 36), (24, 25)])
def test_a_pair_of_another_factor_is_named(tmp_path, config_of, height, width):
    root = write(tmp_path, [(12, 12)] * 3)
    Image.new("RGB", (width, height)).save(root / "B" / "1.png")
    with pytest.raises(DataError, match=rf"1\.bmp is 12x12, .*1\.png {height}x{width}; .* 2 times"):
        make_source(config_of(root, resolution=24))


def test_pairs_the_wrong_way_round_are_refused(tmp_path, config_of):
    root = write(tmp_path, [(12, 12)])
    with pytest.raises(DataError, match=r"is 24x24, .* 12x12; .*\(data\.a and data\.b exchange"):
        make_source(config_of(root, a="B", b="A", resolution=24))


def test_random_crops_and_mirrored_images_belong_together(tmp_path, config_of):
    root = write(tmp_path, [(12, 16)] * 8)
    source = make_source(config_of(root, resolution=None))
    batch = source.read(range(8))
    prepare = Prepare(source.spec, flip=True, crop=8)
    assert prepare.spec == {"a": specs.image((4, 4, 3)), "b": specs.image((8, 8, 3))}
    found = jax.jit(lambda key: prepare(batch, key, None))(jax.random.key(0))
    belong(found)
    firsts = {np.asarray(x)[0, 0].tobytes() for x in found["a"]}
    assert len(firsts) == 8
    with pytest.raises(ConfigError, match=r"data\.crop = 7; accepted: a multiple of 2"):
        Prepare(source.spec, crop=7)


@pytest.mark.slow
def test_a_run_learns_to_enlarge_by_the_factor_of_its_pairs(tmp_path):
    config = srgan.get_config("tiles,smoke")
    config.data.update(path=str(write(tmp_path / "set", [(13, 15)] * 4)), pairing="twins")
    config.data.update(resolution=16, crop=8)
    config.degrade.name = "none"
    config.num_devices = 1
    config.train.update(steps=2, log_every=2, sample_every=2, checkpoint_every=2)
    config.eval.update(every=2, num_real=4, metrics=("psnr",))
    with jax.numpy_dtype_promotion("standard"):  # As outside of the tests of data.
        loop.train(config, tmp_path / "run")
        run = open_run(tmp_path / "run")
        (way,) = run.game.directions.values()
        assert (way.scale, run.game.generator.factor) == (2, 2)
        assert run.translate(np.zeros((1, 5, 6, 3), np.uint8)).shape == (1, 10, 12, 3)
        assert run.evaluate(metrics=("psnr",)).protocol["size"] == [16, 16]


def test_the_middle_of_both_images_is_the_same_part():
    small = np.arange(9 * 9, dtype=np.uint8).reshape(1, 9, 9, 1)
    batch = {"a": small, "b": small.repeat(2, 1).repeat(2, 2)}
    found = translating.fitting(batch, Convolver({"AtoB": Direction(1, 1, 2, scale=2)}))
    assert found["a"].shape == (1, 8, 8, 1)
    belong(found)
