"""Adversarial losses: closed forms, golden values, options, many devices as one."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError
from gan_jax.losses import adversarial
from tests.devices import sharded

NAMES = sorted(adversarial.LOSSES)
LOGISTIC = ["minimax", "non_saturating", "relativistic_pairing", "relativistic_average"]
RELATIVISTIC = ["relativistic_pairing", "relativistic_average"]
SIDES = ["discriminator", "generator"]

REAL = np.array([1.5, -0.25, 3.0], np.float32)
FAKE = np.array([-2.0, 0.75, 0.1], np.float32)

# Computed with PyTorch 2.13 in float64 for REAL and FAKE: binary_cross_entropy_with_logits towards
# the labels 1 and 0 for the logistic losses, of differences of scores for the relativistic ones;
# mse_loss halved for least squares; relu for the hinge.
GOLDEN = {
    ("minimax", "discriminator"): [0.3283412890, 1.9628104260, 0.7929840116],
    ("minimax", "generator"): [-0.1269280110, -1.1368710061, -0.7443966601],
    ("non_saturating", "discriminator"): [0.3283412890, 1.9628104260, 0.7929840116],
    ("non_saturating", "generator"): [2.1269280110, 0.3868710061, 0.6443966601],
    ("least_squares", "discriminator"): [2.125, 1.0625, 2.005],
    ("least_squares", "generator"): [4.5, 0.03125, 0.405],
    ("wasserstein", "discriminator"): [-3.5, 1.0, -2.9],
    ("wasserstein", "generator"): [2.0, -0.75, -0.1],
    ("hinge", "discriminator"): [0.0, 3.0, 1.1],
    ("hinge", "generator"): [2.0, -0.75, -0.1],
    ("relativistic_pairing", "discriminator"): [0.0297504183, 1.3132616875, 0.0535627762],
    ("relativistic_pairing", "generator"): [3.5297504183, 0.3132616875, 2.9535627762],
    ("relativistic_average", "discriminator"): [0.1738655479, 1.0430711788, 0.2708334288],
    ("relativistic_average", "generator"): [5.4738655479, 1.8430711788, 4.9708334288],
}

# As above, towards the label 0.9 for real images.
GOLDEN_SMOOTHED = {
    "minimax": [0.4783412890, 1.9378104260, 1.0929840116],
    "non_saturating": [0.4783412890, 1.9378104260, 1.0929840116],
    "relativistic_pairing": [0.3797504183, 1.2132616875, 0.3435627762],
    "relativistic_average": [0.3621988812, 1.0564045122, 0.6091667622],
}


def loss_of(name, side, **options):
    """One side of a loss as a function of (real, fake), so that both sides fit one suite."""
    loss = adversarial.make(name, **options)
    if side == "discriminator":
        return loss.discriminator
    return lambda real, fake: loss.generator(fake, real if loss.generator_needs_real else None)


def scores(shape, seed=0):
    real_key, fake_key = jax.random.split(jax.random.key(seed))
    # Between the labels of least squares, and away from the hinge's kinks at 1 and -1, where finite
    # differences mean nothing.
    return (
        0.1 + 0.6 * jax.random.uniform(real_key, shape),
        0.2 + 0.5 * jax.random.uniform(fake_key, shape),
    )


@pytest.mark.parametrize(("name", "side"), sorted(GOLDEN))
def test_golden_values(name, side):
    np.testing.assert_allclose(loss_of(name, side)(REAL, FAKE), GOLDEN[name, side], rtol=2e-6)


@pytest.mark.parametrize("name", LOGISTIC)
def test_golden_values_with_smoothing(name):
    smoothed = adversarial.make(name, smoothing=0.1).discriminator(REAL, FAKE)
    np.testing.assert_allclose(smoothed, GOLDEN_SMOOTHED[name], rtol=2e-6)


def test_golden_values_cover_every_loss():
    assert {name for name, _ in GOLDEN} == set(adversarial.LOSSES)


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "relativistic_average"])
def test_discriminator_that_knows_nothing_pays_two_bits(name):
    zeros = np.zeros(4, np.float32)
    np.testing.assert_allclose(
        adversarial.make(name).discriminator(zeros, zeros), 2 * math.log(2), rtol=1e-6
    )


def test_hinge_is_zero_beyond_the_margin():
    real, fake = np.array([1.0, 7.0], np.float32), np.array([-1.0, -9.0], np.float32)
    np.testing.assert_array_equal(adversarial.hinge_discriminator(real, fake), 0.0)


@pytest.mark.parametrize(("a", "b", "c"), [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_least_squares_is_zero_at_its_targets_and_quadratic_about_them(a, b, c):
    loss = adversarial.make("least_squares", a=a, b=b, c=c)
    ones = np.ones(2, np.float32)
    np.testing.assert_array_equal(loss.discriminator(b * ones, a * ones), 0.0)
    np.testing.assert_array_equal(loss.generator(c * ones, None), 0.0)
    np.testing.assert_allclose(loss.discriminator((b + 2) * ones, a * ones), 2.0)
    np.testing.assert_allclose(loss.discriminator(b * ones, (a - 3) * ones), 4.5)
    np.testing.assert_allclose(loss.generator((c + 1) * ones, None), 0.5)


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_smoothed_loss_is_least_where_the_probability_is_its_target(name):
    target = 0.9
    best = jnp.array([math.log(target / (1 - target))])
    fake = jnp.array([-1.0])
    loss = adversarial.make(name, smoothing=1 - target).discriminator
    slope = jax.grad(lambda real: loss(real, fake).sum())
    assert abs(float(slope(best)[0])) < 1e-6
    assert slope(best - 0.5)[0] < -0.01
    assert slope(best + 0.5)[0] > 0.01
    # One-sided: the fake's term is that of the loss without smoothing.
    plain = adversarial.make(name).discriminator
    np.testing.assert_allclose(
        jax.grad(lambda fake: loss(best, fake).sum())(fake),
        jax.grad(lambda fake: plain(best, fake).sum())(fake),
    )


def test_saturating_and_non_saturating_generators_want_the_same_but_not_as_much():
    lost = jnp.array([-20.0])
    saturating = jax.grad(lambda fake: adversarial.minimax_generator(fake).sum())(lost)
    non_saturating = jax.grad(lambda fake: adversarial.non_saturating_generator(fake).sum())(lost)
    assert -1e-6 < saturating[0] < 0.0
    np.testing.assert_allclose(non_saturating, -1.0, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_players_pull_the_scores_apart(name):
    real, fake = scores((4,))
    d_real, d_fake = jax.grad(lambda *x: loss_of(name, "discriminator")(*x).sum(), (0, 1))(
        real, fake
    )
    g_fake = jax.grad(lambda fake: loss_of(name, "generator")(real, fake).sum())(fake)
    assert (d_real < 0).all()
    assert (d_fake > 0).all()
    assert (g_fake < 0).all()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", RELATIVISTIC)
def test_relativistic_losses_see_differences_only(name, side):
    loss = loss_of(name, side)
    np.testing.assert_allclose(loss(REAL + 5, FAKE + 5), loss(REAL, FAKE), rtol=1e-5)


@pytest.mark.parametrize("name", RELATIVISTIC)
def test_relativistic_generator_is_the_discriminator_with_the_roles_exchanged(name):
    loss = adversarial.make(name)
    np.testing.assert_allclose(
        loss.generator(FAKE, REAL), loss.discriminator(FAKE, REAL), rtol=1e-6
    )


def test_only_relativistic_generators_need_real_scores():
    for name in NAMES:
        loss = adversarial.make(name)
        assert loss.generator_needs_real == (name in RELATIVISTIC)
        if loss.generator_needs_real:
            with pytest.raises(ValueError, match="need the real scores"):
                loss.generator(FAKE, None)
        else:
            np.testing.assert_array_equal(loss.generator(FAKE, None), loss.generator(FAKE, REAL))


# Names and options.


def test_unknown_loss_names_the_field_and_suggests():
    with pytest.raises(ConfigError, match=r"loss\.name = 'hinges' is unknown.*hinge.*Did you mean"):
        adversarial.make("hinges")


def test_unknown_option_names_the_field_and_suggests():
    with pytest.raises(ConfigError, match=r'loss\.minimax\.smooth = 0\.1 .*mean "smoothing"\?'):
        adversarial.make("minimax", smooth=0.1)
    with pytest.raises(
        ConfigError, match=r"loss\.hinge\.smoothing = 0\.1 is unknown; accepted: none"
    ):
        adversarial.make("hinge", smoothing=0.1)


def test_option_that_is_none_counts_as_not_given():
    loss = adversarial.make("least_squares", a=None, b=None, c=None, smoothing=None)
    np.testing.assert_allclose(
        loss.discriminator(REAL, FAKE), GOLDEN["least_squares", "discriminator"]
    )


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, 1.0, math.nan, "0.1", True])
@pytest.mark.parametrize("name", LOGISTIC)
def test_bad_smoothing_is_refused_when_made_and_when_called(name, smoothing):
    message = r"smoothing = .*; accepted: a finite number in \[0, 0\.5\)"
    with pytest.raises(ConfigError, match=rf"loss\.{name}\.{message}"):
        adversarial.make(name, smoothing=smoothing)
    with pytest.raises(ConfigError, match=message):
        adversarial.minimax_discriminator(REAL, FAKE, smoothing=smoothing)


def test_bad_least_squares_labels_are_refused():
    with pytest.raises(
        ConfigError, match=r"loss\.least_squares\.c = inf; accepted: a finite number"
    ):
        adversarial.make("least_squares", c=math.inf)
    with pytest.raises(ConfigError, match=r"loss\.least_squares\.b = 0\.0 equals a"):
        adversarial.make("least_squares", b=0.0)


# Many devices.


def mapped(how, function):
    """``function`` over 8 devices: first argument replicated, the others split; one result."""
    if how == "pmap":
        per_device = jax.pmap(function, "data", in_axes=(None, 0, 0), out_axes=None)

        def call(params, *batch):
            return per_device(params, *(x.reshape(8, -1, *x.shape[1:]) for x in batch))

        return call
    return sharded(function, (P(), P("data"), P("data")))


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("how", ["shard_map", "pmap"])
def test_relativistic_average_on_eight_devices_is_that_of_one(how, side):
    keys = jax.random.split(jax.random.key(1), 3)
    params = jax.random.normal(keys[0], (4,))
    # The shards differ, so that a local mean in place of the global one would show.
    shift = jnp.repeat(jnp.arange(8.0), 2)[:, None]
    real = jax.random.normal(keys[1], (16, 4)) + 0.3 * shift
    fake = jax.random.normal(keys[2], (16, 4)) - 0.2 * shift

    def value_and_grad(params, real, fake, axis_name):
        loss = loss_of("relativistic_average", side, axis_name=axis_name)

        def mean_loss(params):
            return loss(jnp.tanh(real @ params), jnp.tanh(fake @ params)).mean()

        result = jax.value_and_grad(mean_loss)(params)
        return result if axis_name is None else jax.lax.pmean(result, axis_name)

    one = value_and_grad(params, real, fake, None)
    many = mapped(how, functools.partial(value_and_grad, axis_name="data"))(params, real, fake)
    assert float(jnp.abs(one[1]).min()) > 1e-4
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), one, many)
