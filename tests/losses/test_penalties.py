"""Penalties: closed forms, parity with PyTorch's double backward, devices."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError
from gan_jax.losses import guards, penalties
from tests.devices import sharded

SHAPE = (5, 4, 2)
BATCH = 4


def conv_params(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "first": (0.4 * rng.normal(size=(3, 3, 2, 3))).astype(np.float32),
        "second": (0.4 * rng.normal(size=(3, 3, 3, 3))).astype(np.float32),
        "head": rng.normal(size=3).astype(np.float32),
    }


def patch_critic(params, images):
    """A small convolutional critic that uses its second kernel twice; a score per pixel."""

    def conv(x, kernel):
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dims)

    hidden = jnp.tanh(conv(images, params["first"]))
    for _ in range(2):
        hidden = jnp.tanh(conv(hidden, params["second"]))
    return hidden @ params["head"]


def critic_of(params):
    return lambda images: patch_critic(params, images).sum((1, 2))


def batch_of(name, shape=SHAPE, batch=BATCH, seed=1, **options):
    """The arguments after the critic: real, fake and draws made as a game makes them."""
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(batch, *shape)).astype(np.float32)
    fake = (0.5 * rng.normal(size=(batch, *shape)) + 0.2).astype(np.float32)
    penalty = penalties.make(name, **options)
    keys = jax.random.split(jax.random.key(seed), batch)
    draws = jax.jit(jax.vmap(lambda key: penalty.draw(key, shape)))(keys)
    return real, fake, draws


# Closed forms.


def test_linear_critic():
    weights = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    norm = np.linalg.norm(weights)

    def critic(images):
        return jnp.tensordot(images, weights, 3) + 7.0

    expected = {
        "wgan_gp": (norm - 1) ** 2,
        "dragan": (norm - 1) ** 2,
        "r1": norm**2 / 2,
        "r2": norm**2 / 2,
        "r1_r2": norm**2,
    }
    assert set(expected) == set(penalties.PENALTIES)
    for name, value in expected.items():
        result = jax.jit(functools.partial(penalties.make(name), critic))(*batch_of(name))
        np.testing.assert_allclose(result, np.full(BATCH, value), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.25, 1.0]),
        ({"one_sided": True}, [0.0, 1.0]),
        ({"target": 0.5}, [0.0, 2.25]),
        ({"target": 0.0}, [0.25, 4.0]),
        ({"target": 1.5, "one_sided": True}, [0.0, 0.25]),
    ],
)
def test_wgan_gp_target_and_sides(options, expected):
    norms = np.array([0.5, 2.0], np.float32)  # of the gradients of the two images

    def critic(points):
        return norms * points[:, 0]

    points = np.zeros((2, 3), np.float32)
    penalty = jax.jit(functools.partial(penalties.make("wgan_gp", **options), critic))
    values = penalty(points, points, np.zeros(2, np.float32))
    np.testing.assert_allclose(values, expected, atol=1e-7)


def test_quadratic_critic_shows_where_each_penalty_looks():
    def critic(points):
        return jnp.sum(points**2, axis=1) / 2  # the gradient is the point

    real = jnp.array([[3.0, 4.0], [0.0, 1.0]])
    fake = jnp.array([[0.0, 2.0], [5.0, 12.0]])
    np.testing.assert_allclose(penalties.r1(critic, real), [12.5, 0.5])
    np.testing.assert_allclose(penalties.r2(critic, fake), [2.0, 84.5])
    np.testing.assert_allclose(penalties.make("r1_r2")(critic, real, fake, ()), [14.5, 85.0])
    np.testing.assert_allclose(
        penalties.wgan_gp(critic, real, fake, jnp.array([1.0, 0.0])), [16.0, 144.0], rtol=1e-6
    )
    halfway = math.hypot(0.25 * 3, 0.25 * 4 + 0.75 * 2)
    np.testing.assert_allclose(
        penalties.wgan_gp(critic, real, fake, jnp.array([0.25, 0.0]))[0],
        (halfway - 1) ** 2,
        rtol=1e-6,
    )


def test_dragan_perturbs_by_the_deviation_of_all_entries():
    def critic(points):
        return jnp.sum(points**2, axis=1) / 2

    real = np.array([[3.0, 4.0], [0.0, 1.0]], np.float32)
    noise = np.array([[0.5, 0.25], [1.0, 0.0]], np.float32)
    alpha = np.array([0.0, 0.5], np.float32)
    points = real + alpha[:, None] * 0.3 * real.std() * noise  # NumPy's std is the population's
    expected = (np.linalg.norm(points, axis=1) - 1) ** 2
    value = penalties.dragan(critic, real, noise, alpha, scale=0.3)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value[0], 16.0, rtol=1e-6)  # alpha 0 is the data itself


def test_interpolation_is_one_share_per_image():
    epsilon = jnp.array([0.0, 0.25, 1.0])
    ones, zeros = jnp.ones((3, *SHAPE)), jnp.zeros((3, *SHAPE))
    expected = np.broadcast_to(np.array([0.0, 0.25, 1.0])[:, None, None, None], ones.shape)
    np.testing.assert_array_equal(penalties.interpolate(ones, zeros, epsilon), expected)


def test_scores_of_a_patch_map_are_summed():
    params, arguments = conv_params(), batch_of("wgan_gp")
    penalty = jax.jit(penalties.make("wgan_gp"), static_argnums=0)
    maps = penalty(functools.partial(patch_critic, params), *arguments)
    assert maps.shape == (BATCH,)
    np.testing.assert_allclose(maps, penalty(critic_of(params), *arguments), rtol=1e-5)


# Parity with PyTorch.


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wgan_gp", {"one_sided": True, "target": 2.0}),
        ("dragan", {"scale": 0.7}),
        ("r1_r2", {}),
    ],
)
def test_value_and_parameter_gradient_agree_with_pytorch(name, options):
    torch = pytest.importorskip("torch")
    params = conv_params()
    real, fake, draws = batch_of(name, **options)
    penalty = penalties.make(name, **options)

    def loss(params):
        values = penalty(critic_of(params), real, fake, draws)
        return values.mean(), values

    grads, values = jax.jit(jax.grad(loss, has_aux=True))(params)

    def tensor(x, axes=None):
        array = np.asarray(x, np.float64)
        return torch.tensor(array if axes is None else array.transpose(axes))

    weights = {
        "first": tensor(params["first"], (3, 2, 0, 1)).requires_grad_(),
        "second": tensor(params["second"], (3, 2, 0, 1)).requires_grad_(),
        "head": tensor(params["head"]).requires_grad_(),
    }

    def critic(x):
        hidden = torch.tanh(torch.nn.functional.conv2d(x, weights["first"], padding=1))
        for _ in range(2):
            hidden = torch.tanh(torch.nn.functional.conv2d(hidden, weights["second"], padding=1))
        return torch.einsum("bchw,c->b", hidden, weights["head"])

    def gradient(x):
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        return grad.flatten(1)

    t_real, t_fake = (tensor(x, (0, 3, 1, 2)) for x in (real, fake))
    if name == "wgan_gp":
        share = tensor(draws)[:, None, None, None]
        excess = gradient(share * t_real + (1 - share) * t_fake).norm(dim=1)
        excess = excess - options.get("target", 1.0)
        t_values = (excess.relu() if options.get("one_sided") else excess) ** 2
    elif name == "dragan":
        share = tensor(draws.alpha)[:, None, None, None]
        deviation = t_real.std(correction=0)
        step = share * options["scale"] * deviation * tensor(draws.noise, (0, 3, 1, 2))
        t_values = (gradient(t_real + step).norm(dim=1) - 1) ** 2
    else:
        places = {"r1": [t_real], "r2": [t_fake], "r1_r2": [t_real, t_fake]}[name]
        t_values = sum((gradient(x) ** 2).sum(1) / 2 for x in places)
    t_values.mean().backward()

    # JAX computes in float32, PyTorch here in float64.
    assert t_values.detach().numpy().min() > 1e-3
    np.testing.assert_allclose(values, t_values.detach().numpy(), rtol=1e-4)
    for key, axes in (("first", (2, 3, 1, 0)), ("second", (2, 3, 1, 0)), ("head", (0,))):
        expected = weights[key].grad.numpy().transpose(axes)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(grads[key], expected, rtol=1e-3, atol=1e-5 * scale)


def test_number_of_draws_is_one_per_image():
    for name in ("r1", "r2", "r1_r2"):
        assert penalties.make(name).draw(jax.random.key(0), SHAPE) == ()
    assert penalties.make("wgan_gp").draw(jax.random.key(0), SHAPE).shape == ()
    draws = penalties.make("dragan").draw(jax.random.key(0), SHAPE)
    assert (draws.noise.shape, draws.alpha.shape) == (SHAPE, ())


@pytest.mark.parametrize("shape", [(), (1,), (BATCH, 1), (BATCH, *SHAPE)])
def test_shares_that_are_not_one_per_image_are_refused(shape):
    real, fake, _ = batch_of("wgan_gp")
    critic = critic_of(conv_params())
    with pytest.raises(ValueError, match=r"epsilon has shape .*one number per image, shape \(4,\)"):
        penalties.wgan_gp(critic, real, fake, jnp.ones(shape))
    with pytest.raises(ValueError, match=r"alpha has shape .*one number per image, shape \(4,\)"):
        penalties.dragan(critic, real, real, jnp.ones(shape))


def test_images_that_would_broadcast_are_refused():
    real, fake, epsilon = batch_of("wgan_gp")
    critic = critic_of(conv_params())
    with pytest.raises(ValueError, match="accepted: equal shapes"):
        penalties.wgan_gp(critic, real, fake[..., :1], epsilon)
    with pytest.raises(ValueError, match="accepted: equal shapes"):
        penalties.dragan(critic, real, fake[:1], epsilon)


# Names and options.


def test_unknown_penalty_and_options_name_the_field():
    with pytest.raises(ConfigError, match=r'penalty\.name = \'wgangp\'.*mean "wgan_gp"\?'):
        penalties.make("wgangp")
    with pytest.raises(ConfigError, match=r"penalty\.r1\.target = 2 is unknown; accepted: step"):
        penalties.make("r1", target=2)
    with pytest.raises(ConfigError, match=r'penalty\.wgan_gp\.sided = True .*mean "one_sided"\?'):
        penalties.make("wgan_gp", sided=True)
    assert isinstance(penalties.make("r1", target=None), penalties.Penalty)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wgan_gp", {"target": -1.0}),
        ("wgan_gp", {"target": "1"}),
        ("wgan_gp", {"one_sided": 1}),
        ("dragan", {"scale": math.nan}),
    ],
)
def test_bad_values_name_the_field(name, options):
    (option,) = options
    with pytest.raises(ConfigError, match=rf"penalty\.{name}\.{option} = .*; accepted: "):
        penalties.make(name, **options)


# safe_norm.


def test_safe_norm_is_the_norm_and_its_gradient_the_unit_vector():
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    expected = np.linalg.norm(x, axis=(1, 2))
    np.testing.assert_allclose(guards.safe_norm(x, (1, 2)), expected, rtol=1e-6)
    grad = jax.jit(jax.grad(lambda x: guards.safe_norm(x, (1, 2)).sum()))(x)
    np.testing.assert_allclose(grad, x / expected[:, None, None], rtol=1e-5)


def test_safe_norm_at_zero_has_zero_derivatives_beside_exact_ones():
    x = jnp.array([[0.0, 0.0], [3.0, 4.0], [1e-15, 0.0]])
    np.testing.assert_allclose(guards.safe_norm(x, 1), [0.0, 5.0, 1e-15])
    grad = jax.jit(jax.grad(lambda x: guards.safe_norm(x, 1).sum()))
    np.testing.assert_allclose(grad(x), [[0.0, 0.0], [0.6, 0.8], [1.0, 0.0]], rtol=1e-6)
    second = jax.jit(jax.grad(lambda x: grad(x)[:, 0].sum()))(x)
    assert jnp.isfinite(second).all()
    np.testing.assert_array_equal(second[0], 0.0)


# Clipping.


def test_clipping_projects_onto_the_cube():
    params: dict[str, Any] = {
        "a": jnp.array([-2.0, -0.01, 0.005, 3.0]),
        "b": [jnp.full((2,), 1, jnp.bfloat16)],
    }
    clipped = penalties.clip_weights(params, 0.01)
    np.testing.assert_allclose(clipped["a"], [-0.01, -0.01, 0.005, 0.01], rtol=1e-6)
    assert clipped["b"][0].dtype == jnp.bfloat16
    again = penalties.clip_weights(clipped, 0.01)
    jax.tree.map(np.testing.assert_array_equal, clipped, again)


@pytest.mark.parametrize("limit", [0, -0.01, math.inf, None])
def test_bad_limit_is_refused(limit):
    with pytest.raises(ConfigError, match="weight clipping limit = "):
        penalties.clip_weights({"a": jnp.ones(2)}, limit)


# Many devices.


def mapped(how, function):
    """``function`` over 8 devices: first argument replicated, the others split; one result."""
    if how == "pmap":
        per_device = jax.pmap(function, "data", in_axes=(None, 0, 0, 0), out_axes=None)

        def call(params, *batch):
            return per_device(
                params, *jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), batch)
            )

        return call
    return sharded(function, (P(), P("data"), P("data"), P("data")))


@pytest.mark.parametrize("how", ["shard_map", "pmap"])
def test_eight_devices_are_one(how):
    """DRAGAN's deviation is that of the whole batch; the others look at single images."""
    weights = jax.random.normal(jax.random.key(0), (3, 6))
    real, fake, draws = batch_of("dragan", shape=(3,), batch=16)
    # The shards differ, so that a local deviation in place of the global one would show.
    real = real * (1.0 + jnp.repeat(jnp.arange(8.0), 2)[:, None])

    def value_and_grad(weights, real, fake, draws, axis_name):
        penalty = penalties.make("dragan", axis_name=axis_name)

        def loss(weights):
            def critic(points):
                return jnp.tanh(points @ weights).sum(1)

            return penalty(critic, real, fake, draws).mean()

        result = jax.value_and_grad(loss)(weights)
        return result if axis_name is None else jax.lax.pmean(result, axis_name)

    one = jax.jit(value_and_grad, static_argnums=4)(weights, real, fake, draws, None)
    many = mapped(how, functools.partial(value_and_grad, axis_name="data"))(
        weights, real, fake, draws
    )
    assert float(jnp.abs(one[1]).max()) > 1e-2
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), one, many)


def test_matching_aware_is_a_power_of_the_norm_of_both_gradients_together():
    rng = np.random.default_rng(0)
    images, sentences = (rng.normal(size=s).astype(np.float32) for s in ((3, 2, 2, 1), (3, 5)))
    a, b = (rng.normal(size=s).astype(np.float32) for s in ((2, 2, 1), (5,)))

    def critic(x, e):
        return 2.0 * (x * a).sum((1, 2, 3)) + e @ b

    squared = 4.0 * (a**2).sum() + (b**2).sum()
    for power in (1.0, 2.0, 6.0):
        values = penalties.matching_aware(critic, images, sentences, power=power)
        np.testing.assert_allclose(values, np.full(3, squared ** (power / 2)), rtol=1e-5)
    # One value per image: here the gradients' norms are those of the inputs.
    values = penalties.matching_aware(
        lambda x, e: ((x**2).sum((1, 2, 3)) + (e**2).sum(1)) / 2, images, sentences
    )
    norms = (images**2).sum((1, 2, 3)) + (sentences**2).sum(1)
    np.testing.assert_allclose(values, norms**3, rtol=1e-5)
    # A critic without a gradient has a penalty of 0, and it one that is finite.
    slope = jax.grad(
        lambda w: penalties.matching_aware(
            lambda x, e: w * (x.sum((1, 2, 3)) + e.sum(1)), images, sentences, power=1.0
        ).sum()
    )(jnp.float32(0.0))
    assert jnp.isfinite(slope)
