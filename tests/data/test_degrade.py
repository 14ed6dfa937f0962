"""What all degradations of images have in common: shapes, keys, ranges, compilation, mistakes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_sample_image

from gan_jax.data import degrade
from gan_jax.data.degrade import degradation
from gan_jax.data.device import to_float
from gan_jax.errors import ConfigError

SETTINGS = {
    "none": degrade.make("none"),
    "gaussian": degrade.make("gaussian", sigma=(0.0, 50.0)),
    "poisson": degrade.make("poisson", peak=(5.0, 40.0)),
    "blur": degrade.make("blur", sigma=(0.2, 1.5), motion=(0.0, 4.0), noise=(0.0, 5.0)),
    "downsample": degrade.make("downsample", factor=2),
    "jpeg": degrade.make("jpeg", quality=(5, 60)),
    "center": degrade.make("mask", fraction=(0.1, 0.5)),
    "boxes": degrade.make("mask", kind="boxes", fraction=(0.1, 0.5)),
    "strokes": degrade.make("mask", kind="strokes", fraction=(0.1, 0.5)),
    "grey": degrade.make("grey"),
}
RANDOM = sorted(set(SETTINGS) - {"none", "downsample", "grey"})


def photographs(batch, height=16, width=24):
    photo = load_sample_image("flower.jpg")
    corners = [(60 + 40 * i, 200 + 30 * i) for i in range(batch)]
    images = np.stack([photo[y : y + height, x : x + width] for y, x in corners])
    return jax.jit(to_float)(images)


def keys_of(batch, seed=3):
    return jax.random.split(jax.random.key(seed), batch)


def assert_equal(made, one, other):
    assert (one.known is None) == (other.known is None)
    # Transforms of several images at once are not those of each to the last bit; and at the brink
    # of a step of quantisation, the last bit decides over a whole step.
    if made.name == "blur":
        np.testing.assert_allclose(one.input, other.input, atol=2e-6)
    elif made.name == "jpeg":
        assert np.mean(np.abs(one.input - other.input)) < 0.1 * degradation.BYTE
    else:
        np.testing.assert_allclose(one.input, other.input, atol=1e-6)
    if one.known is not None:
        np.testing.assert_array_equal(one.known, other.known)


def test_every_degradation_is_tried_here():
    of_images = {name for name, kind in degrade.DEGRADATIONS.items() if kind.data == "image"}
    assert {made.name for made in SETTINGS.values()} == of_images
    for name, kind in degrade.DEGRADATIONS.items():
        assert kind.name == name
        # What is not asked for has a default, and a network's fields may hold it.
        assert hash(degrade.make(name)) == hash(kind())


@functools.cache
def compiled(name):
    return jax.jit(SETTINGS[name])


@pytest.mark.parametrize("name", SETTINGS)
def test_shapes_dtypes_and_range(name):
    made = SETTINGS[name]
    found = compiled(name)(keys_of(5), photographs(5))
    assert -1.0 <= float(found.input.min()) < float(found.input.max()) <= 1.0
    odd = jax.ShapeDtypeStruct((5, 10, 14, 3 if name == "grey" else 1), jnp.float32)
    for clean, result in (
        (photographs(5), found),
        (odd, jax.eval_shape(made, keys_of(5), odd)),
    ):
        batch, height, width, channels = clean.shape
        made.check((height, width, channels))
        size = (batch, height // made.scale, width // made.scale, made.inputs(channels))
        assert (result.input.shape, result.input.dtype) == (size, jnp.float32)
        assert (result.known is not None) == made.masked
        if result.known is not None:
            assert (result.known.shape, result.known.dtype) == ((5, height, width, 1), jnp.float32)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_image_depends_on_its_own_key_alone(name):
    made, clean, keys = SETTINGS[name], photographs(5), keys_of(5)
    together = compiled(name)(keys, clean)
    order = np.array([3, 0, 4, 1, 2])
    assert_equal(
        made, jax.tree.map(lambda x: x[order], together), compiled(name)(keys[order], clean[order])
    )
    # One image and key among others.
    keys, clean = (x[np.array([2, 2, 2, 3, 2])] for x in (keys, clean))
    alone = jax.tree.map(lambda x: x[3:4], compiled(name)(keys, clean))
    assert_equal(made, jax.tree.map(lambda x: x[3:4], together), alone)


@pytest.mark.parametrize("name", RANDOM)
def test_keys_make_a_difference(name):
    clean = jnp.repeat(photographs(1), 5, axis=0)
    one, other = compiled(name)(keys_of(5), clean).input[:2]
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(one, compiled(name)(keys_of(5), clean).input[0])


def test_ranges_are_drawn_from_uniformly_and_equal_ends_are_fixed():
    def drawn(bounds):
        return jax.vmap(lambda key: degradation.draw(key, bounds))(keys_of(500))

    values = np.asarray(drawn((3.0, 7.0)), np.float64)
    assert values.min() >= 3.0
    assert values.max() <= 7.0
    assert stats.kstest(values, stats.uniform(3.0, 4.0).cdf).pvalue > 0.01
    assert set(np.asarray(drawn((5.5, 5.5))).tolist()) == {5.5}


def test_options_may_come_as_lists_or_not_at_all():
    made = degrade.make("blur", sigma=[1.0, 2.0], motion=None)
    assert made == degrade.make("blur", sigma=(1.0, 2.0))
    assert made != degrade.make("blur", sigma=(1.0, 2.5))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gausian", {}, 'degrade.name = .*accepted: .*poisson.*Did you mean "gaussian"'),
        ("gaussian", {"sigm": 1}, 'degrade.gaussian.sigm = 1 is unknown.*Did you mean "sigma"'),
        ("gaussian", {"name": "x"}, "degrade.gaussian.name = 'x' is unknown"),
        ("gaussian", {"sigma": 25.0}, r"degrade.gaussian.sigma = 25.0; accepted: two numbers"),
        ("gaussian", {"sigma": (3.0, 2.0)}, r"degrade.gaussian.sigma = \(3.0, 2.0\)"),
        ("gaussian", {"sigma": (-1.0, 2.0)}, "degrade.gaussian.sigma"),
        ("gaussian", {"sigma": (0.0, float("inf"))}, "degrade.gaussian.sigma"),
        ("gaussian", {"sigma": (0.0, float("nan"))}, "degrade.gaussian.sigma"),
        ("gaussian", {"sigma": (False, True)}, "degrade.gaussian.sigma"),
        ("gaussian", {"sigma": (1.0,)}, "degrade.gaussian.sigma"),
        ("gaussian", {"clip": 1}, "degrade.gaussian.clip = 1; accepted: True, False"),
        ("poisson", {"peak": (0.0, 2.0)}, "degrade.poisson.peak = .*0.01 <= low"),
        ("poisson", {"peak": (1.0, 1e9)}, "degrade.poisson.peak"),
        ("blur", {"motion": (-1.0, 2.0)}, "degrade.blur.motion"),
        ("blur", {"noise": 2.0}, "degrade.blur.noise"),
        ("downsample", {"factor": 5}, "degrade.downsample.factor = 5; accepted: 2, 3, 4, 8"),
        ("downsample", {"factor": True}, "degrade.downsample.factor"),
        ("downsample", {"factor": "2"}, "degrade.downsample.factor"),
        ("downsample", {"round": "no"}, "degrade.downsample.round"),
        ("jpeg", {"quality": (0, 50)}, "degrade.jpeg.quality = .*two integers .*1 <= low"),
        ("jpeg", {"quality": (50, 101)}, "degrade.jpeg.quality"),
        ("jpeg", {"quality": (10.0, 50.0)}, "degrade.jpeg.quality"),
        ("mask", {"kind": "centre"}, 'degrade.mask.kind = .*Did you mean "center"'),
        ("mask", {"fraction": (0.0, 0.5)}, "degrade.mask.fraction"),
        ("mask", {"fraction": (0.5, 1.0)}, "degrade.mask.fraction"),
        ("mask", {"count": 0}, "degrade.mask.count = 0; accepted: an integer >= 1"),
        ("mask", {"count": 1.0}, "degrade.mask.count"),
        ("mask", {"fill": 1.5}, "degrade.mask.fill = 1.5; accepted: a number in"),
        ("mask", {"fill": float("nan")}, "degrade.mask.fill"),
        ("none", {"sigma": 1}, "degrade.none.sigma = 1 is unknown; accepted: none"),
    ],
)
def test_mistakes_in_settings_name_the_field(name, options, message):
    with pytest.raises(ConfigError, match=message):
        degrade.make(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("grey", {}, (8, 8, 1), "'grey' with images of 1 channels; accepted: 3"),
        ("jpeg", {}, (8, 8, 2), "'jpeg' with images of 2 channels; accepted: 1 or 3"),
        ("downsample", {"factor": 4}, (8, 10, 3), "factor = 4 with images of 8x10"),
        ("blur", {"sigma": (0.0, 2.0)}, (8, 20, 3), r"blur.sigma = \(0.0, 2.0\).* 8 pixels"),
        ("blur", {"motion": (0.0, 30.0)}, (16, 20, 3), r"blur.motion = \(0.0, 30.0\)"),
        ("mask", {}, (1, 8, 3), "'mask' with images of 1x8; accepted: 2x2"),
    ],
)
def test_images_that_cannot_be_degraded_so(name, options, shape, message):
    made = degrade.make(name, **options)
    with pytest.raises(ConfigError, match=message):
        made.check(shape)
    with pytest.raises(ConfigError, match=message):
        made(keys_of(1), jnp.zeros((1, *shape), jnp.float32))


def test_arrays_that_are_no_images_with_keys():
    made = degrade.make("none")
    with pytest.raises(ValueError, match=r"uint8\[2, 8, 8, 3\]; accepted: float32"):
        made(keys_of(2), jnp.zeros((2, 8, 8, 3), jnp.uint8))
    with pytest.raises(ValueError, match=r"float32\[8, 8, 3\]; accepted: float32 \[batch"):
        made(keys_of(8), jnp.zeros((8, 8, 3), jnp.float32))
    with pytest.raises(ValueError, match=r"one key per image, shape \(2,\); got \(3,\)"):
        made(keys_of(3), jnp.zeros((2, 8, 8, 3), jnp.float32))


def test_a_new_degradation_is_a_class_with_one_method():
    @dataclasses.dataclass(frozen=True)
    class Negative(degrade.Degradation):
        name = "negative"

        def of_one(self, key, image):
            return degrade.Degraded(-image, None)

    clean = photographs(2)
    made = Negative()
    np.testing.assert_array_equal(made(keys_of(2), clean).input, -clean)
    assert (made.scale, made.masked, made.inputs(3)) == (1, False, 3)
