"""MidiNet's networks: binary neurons and their gradient, sizes, and convolutions in time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gan_jax.errors import ConfigError
from gan_jax.networks import midinet
from gan_jax.networks.registry import make
from tests.networks import pytorch


def test_neurons_are_binary_and_have_the_gradient_of_a_sigmoid():
    logits = jnp.array([-30.0, -0.7, -0.01, 0.0, 0.01, 2.0, 30.0])
    for slope in (0.5, 3.0):
        value, pull = jax.vjp(lambda x, slope=slope: midinet.binary(x, slope), logits)
        assert value.tolist() == [-1, -1, -1, -1, 1, 1, 1]
        share = 1.0 / (1.0 + np.exp(-slope * np.asarray(logits, np.float64)))
        expected = 2.0 * slope * share * (1.0 - share)
        np.testing.assert_allclose(pull(jnp.ones(7))[0], expected, rtol=1e-4, atol=1e-7)


def test_drawn_neurons_are_one_with_the_probability_of_the_sigmoid():
    noise = jax.random.uniform(jax.random.key(0), (4000, 3))
    drawn = midinet.binary(jnp.array([-0.5, 0.0, 1.0]), 2.0, noise)
    share = 1.0 / (1.0 + np.exp(-2.0 * np.array([-0.5, 0.0, 1.0])))
    np.testing.assert_allclose((np.asarray(drawn) == 1).mean(axis=0), share, atol=0.03)


@pytest.fixture(scope="module")
def generator():
    """Return a small generator with drawn neurons, latents, and variables of its own."""
    fields = {"stochastic": True, "conditioning": "concat", "num_classes": 3, "slope": 0.1}
    module = make("generator", "midinet", shape=(12, 5, 1), latent_dim=4, features=6, **fields)
    z, label = jax.random.normal(jax.random.key(0), (8, 4)), {"label": jnp.arange(8) % 3}
    return module, z, label, jax.jit(module.init)(jax.random.key(1), z, label)


def test_keys_draw_each_roll_by_its_own(generator):
    module, z, label, variables = generator

    @jax.jit
    def made(z, label, keys=None):
        return module.apply(variables, z, label, keys=keys, train=False)

    keys = jax.random.split(jax.random.key(2), 8)
    drawn = made(z, label, keys)
    assert (drawn.shape, drawn.dtype) == ((8, 12, 5, 1), jnp.float32)
    assert np.unique(drawn).tolist() == [-1.0, 1.0]
    part = made(z[3:5], {"label": label["label"][3:5]}, keys[3:5])
    np.testing.assert_array_equal(part, drawn[3:5])
    assert (made(z, label) != drawn).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(made(z, label), made(z, label))
    sure = module.clone(stochastic=False).apply(variables, z, label, keys=keys, train=False)
    np.testing.assert_array_equal(sure, made(z, label))


def test_the_slope_rises_and_is_that_of_the_gradient(generator):
    module, z, label, variables = generator
    rising = module.clone(end_slope=10.0, anneal_images=1000)
    slopes = [rising.scheduled(jnp.int32(n))["neurons"]["value"] for n in (0, 500, 1000, 9999)]
    np.testing.assert_allclose(slopes, [0.1, 1.0, 10.0, 10.0], rtol=1e-5)
    assert variables["neurons"]["value"] == np.float32(0.1)

    @jax.jit
    def gradient(slope):
        def total(bias):
            params = {**variables["params"]}
            params["Dense_4"] = {**params["Dense_4"], "bias": bias}
            own = {**variables, "params": params, "neurons": {"value": slope}}
            return module.apply(own, z, label, train=False).sum()

        return jax.grad(total)(variables["params"]["Dense_4"]["bias"])

    # Near a slope of 0 the gradient is half of it, for each of 8 rolls and 12 steps.
    np.testing.assert_allclose(gradient(1e-4), 0.5e-4 * 8 * 12, rtol=1e-3)
    np.testing.assert_allclose(gradient(2e-4), 1e-4 * 8 * 12, rtol=1e-3)


@pytest.mark.parametrize(
    ("steps", "first"), [(16, 2), (12, 3), (8, 2), (7, 7), (2, 2), (1, 1), (48, 3), (96, 3)]
)
def test_steps_are_doubled_from_2_or_an_odd_number(steps, first):
    assert steps >> midinet.doublings(steps) == first
    shape = (steps, 10, 1)
    for role, x in (("generator", (1, 100)), ("discriminator", (1, *shape))):
        module = make(role, "midinet", shape=shape)
        out, made = jax.eval_shape(module.init_with_output, jax.random.key(0), jnp.zeros(x))
        kernels = [layer["kernel"].shape for layer in made["params"].values() if "kernel" in layer]
        doubled = midinet.doublings(steps)
        if role == "generator":
            assert out.shape == (1, *shape)
            ends = [(100, 1024), (1024, first * 256)], [(256, 10)]
            assert kernels == [*ends[0], *[(256, 512)] * doubled, *ends[1]]
        else:
            assert kernels == [(10, 256), *[(1024, 256)] * doubled, (first * 256, 1)]


def test_the_class_is_an_input_of_every_layer_but_the_score():
    fields = {"shape": (8, 5, 1), "features": 6, "conditioning": "concat", "num_classes": 3}
    label = {"label": jnp.arange(2)}
    widths = {}
    for role, x in (("generator", (2, 4)), ("discriminator", (2, 8, 5, 1))):
        more = {"latent_dim": 4} if role == "generator" else {}
        module = make(role, "midinet", **fields, **more)
        made = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(x), label)["params"]
        widths[role] = [made[n]["kernel"].shape[0] for n in sorted(made) if n.startswith("Dense")]
    assert widths["generator"] == [4 + 3, 24 + 3, 6 + 3, 6 + 3, 6 + 3]
    assert widths["discriminator"] == [5 + 3, 4 * 6, 4 * 6, 2 * 6]


def test_layers_of_the_discriminator_are_convolutions_in_time():
    module = make("discriminator", "midinet", shape=(8, 5, 1), features=6)
    x = np.random.default_rng(0).normal(size=(3, 8, 5, 1)).astype(np.float32)
    params = (variables := pytorch.drawn(module, x))["params"]
    h = jax.nn.leaky_relu(x[..., 0] @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], 0.2)
    for name in ("Dense_1", "Dense_2"):
        kernel = params[name]["kernel"].reshape(4, 6, 6)
        numbers = ("NWC", "WIO", "NWC")
        h = lax.conv_general_dilated(h, kernel, (2,), [(1, 1)], dimension_numbers=numbers)
        h = jax.nn.leaky_relu(h + params[name]["bias"], 0.2)
    expected = h.reshape(3, -1) @ params["Dense_3"]["kernel"] + params["Dense_3"]["bias"]
    verdict = jax.jit(lambda v, x: module.apply(v, x, method="judge"))(variables, x)
    np.testing.assert_allclose(verdict.scores, expected[:, 0], rtol=1e-4, atol=1e-4)
    assert [f.shape for f in verdict.features] == [(3, 8, 6), (3, 4, 6), (3, 2, 6)]


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        (
            "generator",
            {"shape": (16, 16, 3)},
            r"shape \(16, 16, 3\); accepted: \(steps, pitches, 1",
        ),
        ("discriminator", {"shape": (64, 1)}, r"shape \(64, 1\); accepted: \(steps"),
        ("generator", {"features": 0}, r"generator\.midinet\.features = 0 cannot work"),
        ("generator", {"slope": 0.0}, r"midinet\.slope = 0\.0; accepted: a number above 0"),
        ("generator", {"end_slope": -1.0}, r"midinet\.end_slope = -1\.0"),
        ("generator", {"anneal_images": 0}, r"midinet\.anneal_images = 0"),
        ("generator", {"normalization": "spectral"}, r"midinet\.normalization = 'spectral'"),
        ("discriminator", {"features": -1}, r"discriminator\.midinet\.features = -1"),
    ],
)
def test_fields_that_cannot_work(role, fields, message):
    with pytest.raises(ConfigError, match=message):
        make(role, "midinet", **{"shape": (8, 5, 1), **fields})
