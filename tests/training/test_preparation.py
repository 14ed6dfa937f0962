"""What is done to images before a turn: random crops and flips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import device
from gan_jax.data import spec as specs
from gan_jax.training.preparation import Prepare
from tests.training import tiny


def numbered(count, size, channels):
    """Return images with the row and column of every pixel as its value."""
    rows, columns = np.mgrid[:size, :size].astype(np.uint8)
    image = np.stack([10 * rows + columns] * channels, -1)
    return np.stack([image] * count)


def corners(images):
    """Return, of crops of `numbered` images, where they begin and whether they are mirrored."""
    values = np.asarray(device.to_uint8(images)).astype(int)
    mirrored = values[:, 0, 0] > values[:, 0, 1]
    first = np.minimum(values[:, 0, 0], values[:, 0, -1])
    return first // 10, first % 10, mirrored


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_halves_of_a_pair_move_together_and_domains_apart(apart):
    prepare = Prepare(specs.pairs((9, 9, 1)), flip=True, crop=4, apart=apart)
    assert prepare.spec == specs.pairs((4, 4, 1))
    images = jnp.asarray(numbered(256, 9, 1))
    made = prepare({"a": images, "b": images}, jax.random.key(0), None)
    assert made["a"].shape == made["b"].shape == (256, 4, 4, 1)
    first, second = (corners(made[name][..., 0]) for name in "ab")
    for one, other in zip(first, second, strict=True):
        if apart:
            assert np.mean(one == other) < 0.7
        else:
            np.testing.assert_array_equal(one, other)
    for tops, lefts, mirrored in (first, second):
        # Every place comes up, the last ones as well, and either way round.
        assert set(tops) == set(lefts) == set(range(6))
        assert 0.4 < mirrored.mean() < 0.6
        assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.2
    # Rows and columns stand as they stood: one step to the right, one row below.
    values = np.asarray(device.to_uint8(made["a"][..., 0])).astype(int)
    np.testing.assert_array_equal(values[:, 1:] - values[:, :-1], 10)
    np.testing.assert_array_equal(np.abs(np.diff(values, axis=2)), 1)


def test_a_crop_of_the_whole_is_the_whole():
    images = jnp.asarray(numbered(3, 9, 1))
    prepare = Prepare(specs.images((9, 9, 1)), crop=9)
    made = prepare({"image": images}, jax.random.key(0), None)
    np.testing.assert_array_equal(device.to_uint8(made["image"]), images)


@pytest.mark.parametrize(
    ("crop", "shape", "message"),
    [
        (10, (9, 12, 1), r"data\.crop = 10; .*\(9, 12, 1\): 1 to 9, or unset"),
        (0, (9, 9, 1), r"data\.crop = 0; .*: 1 to 9"),
        (2, (2,), r"data\.crop = 2; .*\(2,\): unset"),
    ],
)
def test_a_crop_that_is_none_is_refused(crop, shape, message):
    with pytest.raises(errors.ConfigError, match=message):
        Prepare(tiny.spec_of(shape), crop=crop)
    with pytest.raises(ValueError, match=r"cannot crop images of shape \(2, 4, 8, 1\) to 5x5"):
        device.crop(jnp.zeros((2, 4, 8, 1)), 5, jax.random.split(jax.random.key(0), 2))


def test_images_with_captions_are_not_mirrored():
    spec = {"image": specs.image((8, 8, 3)), "label": specs.Field("caption", (5,), "int32")}
    with pytest.raises(errors.ConfigError, match=r"data\.flip = True; .*captions.*: False"):
        Prepare(spec, flip=True)
