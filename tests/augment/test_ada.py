"""ADA: each transformation by hand, the probabilities, and the strength that follows the scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from gan_jax.augment import transforms
from gan_jax.augment.ada import ADA, TRANSFORMS, transform
from gan_jax.errors import ConfigError
from tests.configs import variants

GREY = np.full(3, 1 / np.sqrt(3), np.float32)


def images(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def draws(function, count, *arguments):
    """Return what a function draws with many keys."""
    keys = jax.random.split(jax.random.key(3), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: function(key, *arguments)))(keys))


# --- The plane. -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_without_strength_images_are_returned_exactly(channels):
    x = images((5, 6, 9, channels))
    keys = jax.random.split(jax.random.key(0), 5)
    made = jax.jit(transform, static_argnums=2)(keys, x, TRANSFORMS, jnp.float32(0))
    np.testing.assert_array_equal(made, x)


def test_blits_are_flips_right_angles_and_reflected_shifts():
    """All of the group are drawn, each as often, and move pixels unchanged."""
    x = images((8, 8, 2))
    drawn = draws(transforms.blit, 3000, 1.0, (8, 8))
    assert set(np.unique(drawn[:, :2, :2])) <= {-1.0, 0.0, 1.0}
    pads = ((1, 1), (1, 1), (0, 0))
    warped = np.asarray(jax.vmap(lambda m: transforms.warp(jnp.asarray(x), m))(drawn[:200]))
    group = [np.rot90(y, k) for y in (x, x[:, ::-1]) for k in range(4)]
    for matrix, made in zip(drawn[:200], warped, strict=True):
        shift = matrix.copy()
        shift[:2, 2] = 0
        still = np.asarray(transforms.warp(x, shift))
        assert sum(np.array_equal(still, one) for one in group) == 1
        # The shift comes first at a place of the result: it moves the turned image.
        down, right = np.linalg.solve(matrix[:2, :2], matrix[:2, 2]).round().astype(int)
        moved = np.pad(still, pads, mode="symmetric")
        np.testing.assert_array_equal(made, moved[1 + down : 9 + down, 1 + right : 9 + right])
    kinds, counts = np.unique(drawn[:, :2, :2].reshape(-1, 4), axis=0, return_counts=True)
    assert len(kinds) == 8
    np.testing.assert_allclose(counts / 3000, 1 / 8, atol=0.03)
    assert set(np.unique(drawn[:, :2, 2])) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("size", [(7, 7), (6, 9)])
def test_any_matrix_warps_as_scipy_does(size):
    x = images((*size, 1))
    matrix = np.array([[0.7, -0.6, 1.3], [0.4, 1.2, -2.1], [0, 0, 1]], np.float32)
    middle = (np.array(size) - 1) / 2
    offset = middle + matrix[:2, 2] - matrix[:2, :2] @ middle
    expected = ndimage.affine_transform(
        x[..., 0], matrix[:2, :2], offset, order=1, mode="reflect", prefilter=False
    )
    np.testing.assert_allclose(transforms.warp(x, matrix)[..., 0], expected, atol=1e-5)


def test_geometry_scales_rotates_and_shifts_by_the_papers_deviations():
    drawn = draws(transforms.geometry, 4000, 1.0, (16, 32))
    # Rotations and stretching keep areas: what is left is the square of the scale.
    determinants = np.linalg.det(drawn[:, :2, :2])
    np.testing.assert_allclose(np.std(np.log2(determinants)) / 2, 0.2, rtol=0.05)
    np.testing.assert_allclose(np.mean(np.log2(determinants)), 0.0, atol=0.02)
    stretches = np.linalg.svd(drawn[:, :2, :2], compute_uv=False)
    ratios = np.log2(stretches[:, 0] / stretches[:, 1]) / 2  # A half-normal number.
    np.testing.assert_allclose(np.sqrt(np.mean(ratios**2)), 0.2, rtol=0.05)
    # The shift is the first of the matrices at a place of the result.
    shifts = np.linalg.solve(drawn[:, :2, :2], drawn[:, :2, 2:])[..., 0]
    np.testing.assert_allclose(np.std(shifts, 0), [2.0, 4.0], rtol=0.05)


@pytest.mark.parametrize("strength", [0.3, 0.9])
def test_each_transformation_has_the_probability_of_the_strength(strength):
    drawn = draws(transforms.geometry, 4000, strength, (16, 16))
    near = {"atol": 0.03}
    scaled = np.abs(np.linalg.det(drawn[:, :2, :2]) - 1) > 1e-5
    np.testing.assert_allclose(scaled.mean(), strength, **near)
    moved = np.abs(drawn[:, :2, 2]).max(1) > 0
    np.testing.assert_allclose(moved.mean(), strength, **near)
    # Neither rotation: the products of diagonal matrices are diagonal.
    turned = (drawn[:, 0, 1] != 0) | (drawn[:, 1, 0] != 0)
    np.testing.assert_allclose(turned.mean(), strength, **near)
    blits = draws(transforms.blit, 4000, strength, (16, 16))
    # Half of the flips and three quarters of the turns change something; they never cancel.
    still = (1 - strength / 2) * (1 - 3 * strength / 4)
    same = np.all(blits[:, :2, :2] == np.eye(2), (1, 2))
    np.testing.assert_allclose(same.mean(), still, **near)
    colors = draws(transforms.color, 4000, strength)
    np.testing.assert_allclose((np.abs(colors[:, :, 3]).max(1) > 0).mean(), strength, **near)


# --- Colours. -------------------------------------------------------------------------------------


def test_colours_act_on_grey_and_on_its_complement_as_the_paper_says():
    drawn = draws(transforms.color, 4000, 1.0)
    linear, offset = drawn[:, :, :3], drawn[:, :, 3]
    # Grey stays grey, inverted in half of the cases, times the contrast.
    grey = linear @ GREY
    along = grey @ GREY
    np.testing.assert_allclose(grey, along[:, None] * GREY, atol=1e-5)
    np.testing.assert_allclose((along < 0).mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(np.std(np.log2(np.abs(along))), 0.5, rtol=0.05)
    # A colour without grey is turned about it, and multiplied by contrast and saturation.
    red = np.array([2, -1, -1], np.float32) / np.sqrt(6, dtype=np.float32)
    turned = linear @ red
    np.testing.assert_allclose(turned @ GREY, 0, atol=1e-4)
    lengths = np.linalg.norm(turned, axis=1) / np.abs(along)
    np.testing.assert_allclose(np.std(np.log2(lengths)), 1.0, rtol=0.05)
    green = np.cross(GREY, red)
    angles = np.arctan2(turned @ green, turned @ red)
    np.testing.assert_allclose(np.std(angles), np.pi / np.sqrt(3), rtol=0.05)
    # Brightness comes first, and is the same in all channels.
    added = (offset @ GREY) / along / np.sqrt(3)
    np.testing.assert_allclose(np.std(added), 0.2, rtol=0.05)


def test_one_channel_is_the_mean_of_three_alike():
    matrix = draws(transforms.color, 1, 1.0)[0]
    x = images((4, 5, 1))
    three = transforms.recolor(np.repeat(x, 3, -1), matrix)
    np.testing.assert_allclose(
        three,
        np.einsum("hwc,kc->hwk", np.repeat(x, 3, -1), matrix[:, :3]) + matrix[:, 3],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        transforms.recolor(x, matrix), np.mean(three, -1, keepdims=True), atol=1e-5
    )
    with pytest.raises(ValueError, match="images of 2 channels"):
        transforms.recolor(images((4, 5, 2)), matrix)


def test_the_gradient_is_the_adjoint():
    """The transformation of the plane is linear in the image."""
    x, y = images((3, 6, 6, 1)), images((3, 6, 6, 1), 1)
    keys = jax.random.split(jax.random.key(2), 3)

    @jax.jit
    def both(x, y):
        apply = lambda x: transform(keys, x, ("blit", "geometry"), jnp.float32(0.9))  # noqa: E731
        made, back = jax.vjp(apply, x)
        return made, back(y)[0]

    made, returned = both(x, y)
    np.testing.assert_allclose(np.sum(made * y), np.sum(x * returned), rtol=1e-4)
    assert np.abs(made - x).max() > 0.1


# --- The strength. --------------------------------------------------------------------------------


def moved(ada, *scores, start=0.5):
    """Return the strengths after the scores of several batches of real data."""
    memory, strengths = ada.init()._replace(strength=jnp.float32(start)), []
    for one in scores:
        memory = ada.update(memory, jnp.asarray(one, jnp.float32), jnp.zeros(4), None)
        strengths.append(float(memory.strength))
    return strengths, memory


SURE, UNSURE = np.full(10, 3.0), np.array([2.0] * 7 + [-1.0] * 3)  # Mean signs 1.0 and 0.4.


def test_the_strength_follows_the_mean_sign_over_an_interval():
    ada = ADA(policy=("blit",), ramp=200.0, interval=2)
    # Two batches of ten real images are a tenth of the ramp.
    np.testing.assert_allclose(moved(ada, SURE, SURE, SURE, UNSURE)[0], [0.5, 0.6, 0.6, 0.7])
    np.testing.assert_allclose(moved(ada, UNSURE, UNSURE)[0], [0.5, 0.4])
    strengths, memory = moved(ada, UNSURE, SURE, UNSURE)
    np.testing.assert_allclose(strengths, [0.5, 0.6, 0.6])
    np.testing.assert_allclose(ada.metrics(memory)["ada_sign"], 0.7, rtol=1e-6)
    np.testing.assert_allclose(ada.metrics(memory)["ada_strength"], 0.6, rtol=1e-6)


def test_the_strength_stays_between_0_and_1_and_fixed_without_a_target():
    ada = ADA(policy=("blit",), ramp=20.0, interval=1)
    assert moved(ada, SURE, SURE)[0] == [1.0, 1.0]
    assert moved(ada, UNSURE, UNSURE)[0] == [0.0, 0.0]
    assert moved(ADA(policy=("blit",), target=0.0, interval=1), SURE, UNSURE)[0] == [0.5, 0.5]


def test_devices_share_one_strength():
    ada = ADA(policy=("blit",), ramp=200.0, interval=1)
    halves = jnp.stack([jnp.full(5, 3.0), jnp.array([1.0, 1.0, 1.0, 1.0, -1.0])])
    update = lambda real: ada.update(ada.init(), real, real, "data")  # noqa: E731
    several = jax.vmap(update, axis_name="data")(halves)
    alone = ada.update(ada.init(), halves.reshape(-1), halves.reshape(-1), None)
    np.testing.assert_allclose(alone.strength, 10 / 200, rtol=1e-6)
    for a, b in zip(several, alone, strict=True):
        np.testing.assert_allclose(a, [b, b], rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": ("blit", "colour")}, 'accepted: a tuple of .* Did you mean "color"'),
        ({"policy": ("blit", "blit")}, "each at most once"),
        ({"strength": 1.5}, "augment.ada.strength = 1.5; accepted: 0 to 1"),
        ({"target": 1.0}, "augment.ada.target = 1.0; accepted"),
        ({"ramp": 0.0}, "augment.ada.ramp = 0.0; accepted: above 0"),
        ({"interval": 0}, "augment.ada.interval = 0; accepted: 1 or more"),
    ],
)
def test_fields_that_cannot_work(fields, message):
    with pytest.raises(ConfigError, match=message):
        ADA(**fields)


def test_losses_without_a_sign_need_a_fixed_strength():
    config = variants.load("wgan_gp", "digits")
    with pytest.raises(ConfigError, match=r"loss\.name = 'wasserstein'; accepted: 0"):
        ADA(policy=("blit",)).check(config, "image")
    ADA(policy=("blit",), target=0.0, strength=0.3).check(config, "image")
    with pytest.raises(ConfigError, match="of kind 'audio'"):
        ADA(policy=("blit",)).check(config, "audio")
