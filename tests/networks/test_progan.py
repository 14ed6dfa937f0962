"""ProGAN's networks: a reference in plain operations, levels, borders of stages, settings."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.progan import GROWTH, fade
from gan_jax.networks.registry import make
from gan_jax.networks.verdict import Head

SHAPE = (16, 16, 2)
ROLES = ("generator", "discriminator")
FIELDS = {"features": 2, "max_features": 6}  # 6 channels at 4x4 and 8x8, 8 would be at 16x16.
LATENT = 5


@functools.cache
def network(role, stage=None, **fields):
    latent = {"latent_dim": LATENT} if role == "generator" else {}
    return make(role, "progan", shape=SHAPE, stage=stage, **FIELDS, **latent, **fields)


@functools.cache
def inputs(role):
    shape = (8, LATENT) if role == "generator" else (8, *SHAPE)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@functools.cache
def params(role):
    """Return parameters with biases that are not 0."""
    fresh = jax.jit(network(role).init)(jax.random.key(0), inputs(role))["params"]
    rng = np.random.default_rng(2)
    return jax.tree.map(
        lambda x: x if x.ndim > 1 else rng.normal(size=x.shape).astype(np.float32), fresh
    )


@functools.partial(jax.jit, static_argnames=("role", "stage"))
def apply(role, own, level, x, stage=None):
    return network(role, stage).apply({"params": own, GROWTH: {"level": level}}, x)


def outputs(role, level, stage=None, x=None, own=None):
    x = inputs(role) if x is None else x
    return np.asarray(apply(role, own or params(role), np.float32(level), x, stage))


def enlarged(x, times=1):
    return x.repeat(2**times, axis=1).repeat(2**times, axis=2)


def halved(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


# --- The same in plain operations. ----------------------------------------------------------------


def used(layer):
    """Return a layer's kernel as it is used, with the gain of a ReLU."""
    kernel = layer["kernel"]
    return kernel * np.sqrt(2 / np.prod(kernel.shape[:-1]))


def conv(layer, x, gain=1.0):
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, used(layer), (1, 1), "SAME", dimension_numbers=dimensions)
    return gain * y + layer["bias"]


def active(x):
    return jnp.where(x > 0, x, 0.2 * x)


def normed(x):
    return x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-8)


def rgb(p, x, stage):
    return conv(p[f"rgb_{stage}"], x, 0.5**0.5)


@jax.jit
def plain_generator(p, z, share):
    x = normed(z) @ used(p["dense"]) / 4
    x = normed(active(x.reshape(-1, 4, 4, 6) + p["bias"]))
    x = normed(active(conv(p["conv_0_0"], x)))
    images = []
    for stage in (1, 2):
        x = enlarged(x)
        for index in (0, 1):
            x = normed(active(conv(p[f"conv_{stage}_{index}"], x)))
        images.append(rgb(p, x, stage))
    return (1 - share) * enlarged(images[0]) + share * images[1]


@jax.jit
def plain_discriminator(p, x, share):
    def seen(x, stage):
        return active(conv(p[f"rgb_{stage}"], x))

    def reduced(y, stage):
        for index in (0, 1):
            y = active(conv(p[f"conv_{stage}_{index}"], y))
        return halved(y)

    y = (1 - share) * seen(halved(x), 1) + share * reduced(seen(x, 2), 2)
    y = reduced(y, 1)
    groups = y.reshape(2, 4, 4, 4, 6)
    deviation = jnp.sqrt(jnp.var(groups, axis=1) + 1e-8).mean((1, 2, 3)).repeat(4)
    plane = jnp.broadcast_to(deviation[:, None, None, None], (8, 4, 4, 1))
    y = active(conv(p["conv_0_0"], jnp.concatenate([y, plane], -1))).reshape(8, -1)
    y = active(y @ used(p["dense"]) + p["dense"]["bias"])
    return (y @ used(p["EqualizedDense_0"]) / 2**0.5 + p["EqualizedDense_0"]["bias"])[:, 0]


@pytest.mark.parametrize("role", ROLES)
def test_a_network_is_its_formula(role):
    plain = {"generator": plain_generator, "discriminator": plain_discriminator}[role]
    expected = plain(params(role), inputs(role), 0.3)
    np.testing.assert_allclose(outputs(role, 1.3, stage=2), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("role", ROLES)
def test_kernels_are_drawn_from_a_standard_normal_distribution(role):
    for name, x in jax.tree.leaves_with_path(params(role)):
        if x.ndim > 1:
            assert x.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * x.size)), name


# --- Levels. --------------------------------------------------------------------------------------


def test_fading_is_linear_in_the_level_and_exact_at_both_ends():
    coarse, fine = np.random.default_rng(0).normal(size=(2, 2, 3, 3, 1)).astype(np.float32)
    for level, share in ((1.25, 0.25), (1.5, 0.5), (1.9, 0.9)):
        found = fade(coarse, fine, jnp.float32(level), 2)
        np.testing.assert_allclose(found, coarse + share * (fine - coarse), rtol=1e-5, atol=1e-6)
    for level, expected in ((0.0, coarse), (1.0, coarse), (2.0, fine), (3.0, fine)):
        np.testing.assert_array_equal(fade(coarse, fine, jnp.float32(level), 2), expected)


@pytest.mark.parametrize("border", [0, 1])
def test_at_the_border_of_two_stages_both_networks_are_the_same_before_and_after(border):
    """A stage that has not begun to be faded in gives the image, and the score, of the last."""
    small, large = (outputs("generator", border, stage) for stage in (border, border + 1))
    assert small.shape == (8, 4 << border, 4 << border, 2)
    np.testing.assert_array_equal(large, enlarged(small))
    assert np.std(small) > 0.1
    images = inputs("discriminator")
    for _ in range(1 - border):
        images = halved(images)
    before = outputs("discriminator", border, border, np.asarray(halved(images)))
    after = outputs("discriminator", border, border + 1, images)
    # Up to the order of float32 sums.
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-6)
    assert np.std(before) > 0.05


@pytest.mark.parametrize(("level", "stage"), [(0.0, 0), (0.4, 1), (1.0, 1), (1.6, 2), (2.0, 2)])
def test_a_network_without_a_stage_is_that_of_its_level(level, stage):
    whole = outputs("generator", level)
    assert whole.shape == (8, *SHAPE)
    part = outputs("generator", level, stage)
    np.testing.assert_allclose(whole, enlarged(part, 2 - stage), rtol=1e-5, atol=1e-5)
    whole = outputs("discriminator", level)
    np.testing.assert_allclose(whole, outputs("discriminator", level, stage), rtol=1e-4, atol=1e-4)


def test_without_a_level_a_network_is_fully_grown():
    z = inputs("generator")
    init = jax.jit(network("generator").init_with_output)
    images, variables = init(jax.random.key(0), z)
    assert variables[GROWTH]["level"] == 2.0
    expected = outputs("generator", 2.0, own=variables["params"])
    np.testing.assert_allclose(images, expected, rtol=1e-3, atol=1e-4)


def layers(stage, share):
    """Return the layers that are used in a stage, and have a gradient at a share of it."""
    convs = {f"conv_{s}_{i}" for s in range(1, stage + 1) for i in (0, 1) if s < stage or share}
    rgbs = {f"rgb_{stage}"} if share else set()
    return {*convs, *rgbs, *({f"rgb_{stage - 1}"} if share < 1 and stage else ()), "conv_0_0"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("stage", "share"), [(0, 1.0), (1, 0.0), (1, 0.5), (1, 1.0)])
def test_layers_of_other_stages_have_no_gradient(role, stage, share):
    def total(own):
        level = jnp.float32(stage - 1 + share)
        return jnp.sum(jnp.sin(apply(role, own, level, inputs(role))))

    gradients = jax.device_get(jax.jit(jax.grad(total))(params(role)))
    fixed = {"bias", "dense", "EqualizedDense_0"}
    found = {n for n, own in gradients.items() if any(x.any() for x in jax.tree.leaves(own))}
    assert found - fixed == layers(stage, share)


@pytest.mark.parametrize("role", ROLES)
def test_a_stage_computes_only_layers_that_have_a_share_in_it(role):
    variables = jax.eval_shape(network(role, 2).init, jax.random.key(0), inputs(role))
    assert set(params(role)) - set(variables["params"]) == {"rgb_0"}


# --- Settings. ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "coarsest"), [((28, 28, 1), (7, 7)), ((32, 48, 3), (4, 6)), ((8, 8, 1), (4, 4))]
)
def test_other_sizes(shape, coarsest):
    generator = make("generator", "progan", shape=shape, stage=0, **FIELDS)
    z = np.zeros((2, 512), np.float32)
    images, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), z)
    assert images.shape == (2, *coarsest, shape[-1])
    discriminator = make("discriminator", "progan", shape=shape, **FIELDS)
    x = np.zeros((2, *shape), np.float32)
    scores, _ = jax.eval_shape(discriminator.init_with_output, jax.random.key(0), x)
    assert scores.shape == (2,)


def test_widths_are_the_papers():
    """Those of 1024x1024: 512 up to 32x32, then half as many at each further size."""
    module = make("generator", "progan", shape=(1024, 1024, 3))
    z = np.zeros((2, 512), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), z)["params"]
    widths = [shapes[f"conv_{stage}_1"]["kernel"].shape[-1] for stage in range(1, 9)]
    assert widths == [512, 512, 512, 256, 128, 64, 32, 16]


@pytest.mark.parametrize(("role", "kernel"), [("generator", "dense"), ("discriminator", "rgb_2")])
def test_a_class_is_seen_beside_the_input(role, kernel):
    module = network(role, conditioning="concat", num_classes=3)
    label = np.zeros(8, np.int32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs(role), {"label": label})
    wider, plain = shapes["params"][kernel]["kernel"], params(role)[kernel]["kernel"]
    assert wider.shape[-2] == plain.shape[-2] + 3


def test_a_projection_and_heads_are_of_the_hidden_layer():
    module = network(
        "discriminator", conditioning="projection", num_classes=3, heads=(Head("class", 3),)
    )
    label = {"label": np.zeros(8, np.int32)}
    verdict, variables = jax.eval_shape(
        functools.partial(module.init_with_output, method="judge"),
        jax.random.key(0),
        inputs("discriminator"),
        label,
    )
    assert verdict.heads["class"].shape == (8, 3)
    assert variables["params"]["projection"]["embedding"].shape == (3, 6)


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        ("generator", {"features": 0}, "generator.progan.features = 0 cannot work; accepted: a"),
        ("generator", {"max_features": -1}, "generator.progan.max_features = -1 cannot work"),
        ("generator", {"latent_dim": 0}, "generator.latent_dim = 0 cannot work"),
        ("generator", {"shape": (18, 18, 1)}, "data.resolution = 18 cannot be made by progan"),
        ("discriminator", {"features": 1.5}, "discriminator.progan.features = 1.5 cannot work"),
        (
            "discriminator",
            {"minibatch": "std"},
            "discriminator.progan.minibatch = 'std' is unknown; accepted: none, stddev, discrim",
        ),
    ],
)
def test_what_cannot_work_is_refused(role, fields, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(role, "progan", **{"shape": SHAPE, **fields})
