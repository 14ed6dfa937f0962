"""Samples depend on weights, seed and number alone; what batch-norm takes its statistics from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import attributes
from gan_jax.data import spec as specs
from gan_jax.data.device import to_uint8
from gan_jax.games import draws
from gan_jax.training.sampling import (
    InProportion,
    InTurn,
    Sampler,
    Sampling,
    chosen_variables,
    first_labels,
    in_turn,
    make_sampling,
)
from tests.training import tiny


@pytest.fixture(scope="module")
def trained():
    """Return a DCGAN after three steps, whose averages, running and batch statistics differ."""
    config = tiny.batch_norm_config()
    config.num_devices = 1
    config.ema.half_life = 64.0
    state, training = tiny.run(config, 3)
    generator = state.networks["generator"]

    def louder(params):
        """Return the parameters with an output that fills the range, as after a real training."""
        return jax.tree.map(lambda x: 1000.0 * x if x.shape[-1:] == (1,) else x, params)

    ema = {**generator.ema, "params": louder(generator.ema["params"])}
    generator = generator.replace(params=louder(generator.params), ema=ema)
    return training.game, state.replace(networks={**state.networks, "generator": generator})


def make(trained, devices=1, batch_size=16, **how):
    game, state = trained
    sampler = Sampler(
        game,
        seed=5,
        batch_size=batch_size,
        sampling=Sampling(**how),
        devices=jax.devices()[:devices],
    )
    return sampler.samples(sampler.place(chosen_variables(state, Sampling(**how))), 24)


def agree(a, b):
    """Assert that two sets of pictures are equal up to the rounding of a byte here and there."""
    assert a.shape == b.shape
    difference = np.abs(a.astype(int) - b.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.slow
def test_neither_batch_size_nor_devices_change_a_sample(trained):
    one = make(trained)
    agree(one, make(trained, batch_size=5))
    agree(one, make(trained, devices=8))


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["standing", "batch"])
def test_statistics_of_a_batch_are_those_of_all_devices(trained, batch_norm):
    how = {"batch_norm": batch_norm, "standing_images": 48}
    agree(make(trained, **how), make(trained, devices=8, **how))


def test_a_sample_is_made_of_the_latent_of_its_number(trained):
    game, state = trained
    key = draws.named(jax.random.key(5), "sample")
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(24, dtype=np.uint32))
    variables = {name: network.averaged for name, network in state.networks.items()}
    data = jax.jit(game.sample)(variables, draws.latents(keys, game.latent_dim))
    agree(make(trained), np.asarray(to_uint8(data)))


@pytest.mark.slow
def test_the_four_ways_and_raw_weights_differ(trained):
    every = {
        **{name: make(trained, batch_norm=name) for name in ("ema", "running", "batch")},
        "standing": make(trained, batch_norm="standing", standing_images=64),
        "raw": make(trained, raw=True),
    }
    named = list(every)
    for i, a in enumerate(named):
        for b in named[i + 1 :]:
            assert np.abs(every[a].astype(int) - every[b].astype(int)).mean() > 0.5, (a, b)


def test_ema_is_the_average_of_the_running_statistics(trained):
    _, state = trained
    network = state.networks["generator"]
    ema = chosen_variables(state, Sampling("ema"))
    running = chosen_variables(state, Sampling("running"))
    chosen = {"ema": network.ema["batch_stats"], "running": network.mutable["batch_stats"]}
    for name, variables in (("ema", ema), ("running", running)):
        jax.tree.map(
            np.testing.assert_array_equal, variables["generator"]["batch_stats"], chosen[name]
        )
        jax.tree.map(
            np.testing.assert_array_equal,
            variables["generator"]["params"],
            network.ema["params"],
        )


def test_standing_statistics_of_one_batch_reproduce_that_batch(trained):
    # Normalising a batch with its own moments, held fixed, is what "batch" does.
    game, state = trained
    sampler = Sampler(game, seed=3, batch_size=16, sampling=Sampling("standing", 16))
    variables = sampler.place(chosen_variables(state, Sampling()))
    key = draws.named(jax.random.key(3), "standing")
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(16, dtype=np.uint32))
    z = draws.latents(keys, game.latent_dim)
    plain = {name: network.averaged for name, network in state.networks.items()}

    def by_batch(z):
        return game.sample(plain, z, train=True)

    expected = jax.jit(jax.vmap(by_batch, axis_name="data"))(z[None])[0]
    found = jax.jit(game.sample)(variables, z)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_standing_statistics_of_many_batches_have_their_pooled_variance(trained):
    game, state = trained
    sampler = Sampler(game, seed=3, batch_size=8, sampling=Sampling("standing", 32))
    placed = sampler.place(chosen_variables(state, Sampling()))
    stats = placed["generator"]["batch_stats"]
    plain = {name: network.averaged for name, network in state.networks.items()}
    key = draws.named(jax.random.key(3), "standing")
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(32, dtype=np.uint32))
    z = draws.latents(keys, game.latent_dim)
    moments_of = jax.jit(jax.vmap(lambda z: game.sample_moments(plain, z), axis_name="data"))
    each = [moments_of(z[None, i : i + 8]) for i in range(0, 32, 8)]
    layer = next(name for name in stats if "mean" in stats[name])
    moments = [one["generator"][layer] for one in each]
    mean = np.mean([m["mean"][0] for m in moments], 0)
    squares = np.mean([m["mean_of_squares"][0] for m in moments], 0)
    np.testing.assert_allclose(stats[layer]["mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats[layer]["var"], squares - mean**2, rtol=1e-3, atol=1e-6)


def test_without_batch_statistics_all_ways_are_one():
    config = tiny.point_config()
    config.num_devices = 1
    training = tiny.build.make_training(config, specs.points())
    trained = training.game, training.init_state()
    one = make(trained)
    for name in ("running", "standing", "batch"):
        np.testing.assert_array_equal(make(trained, batch_norm=name), one)


def test_classes_come_in_the_shares_that_are_asked_for(trained):
    class Conditional:
        """A game whose sample is its label."""

        spec = specs.points(3)
        latent_dim = 1
        num_classes = 3
        attributes = None

        def latents(self, keys):
            return jax.numpy.zeros((len(keys), 1))

        def sample(self, variables, z, condition, *, keys, truncation, train):
            return jax.numpy.stack([condition["label"]] * 2, 1).astype("float32")

    def labels(**options):
        sampler = Sampler(Conditional(), seed=0, batch_size=50, **options)
        return np.bincount(sampler.samples({}, 3000)[:, 0].astype(int), minlength=3) / 3000

    np.testing.assert_allclose(labels(), 1 / 3, atol=0.04)
    np.testing.assert_allclose(
        labels(class_shares=np.array([0.7, 0.3, 0.0])), [0.7, 0.3, 0.0], atol=0.04
    )
    np.testing.assert_array_equal(labels(label=1), [0, 1, 0])
    sampler = Sampler(Conditional(), seed=0, batch_size=50, class_of=InTurn(3))
    np.testing.assert_array_equal(sampler.samples({}, 100)[:, 0], np.arange(100) % 3)
    told = [np.asarray(sampler.latents(first)[1]) for first in (0, 50)]
    np.testing.assert_array_equal(np.concatenate(told), np.arange(100) % 3)


@pytest.mark.parametrize("counts", [(1, 1), (5, 0, 2, 93), (1000, 1)])
@pytest.mark.parametrize("num", [50, 5000])
def test_any_first_samples_are_in_proportion(counts, num):
    """Closer than random draws would be: by less than 4 samples."""
    labels = InProportion(counts)(np.arange(num, dtype=np.uint32))
    found = np.bincount(labels, minlength=len(counts))
    np.testing.assert_allclose(found, np.array(counts) / sum(counts) * num, atol=4)
    assert found[np.array(counts) == 0].sum() == 0
    on_device = InProportion(counts)(jnp.arange(num, dtype=jnp.uint32))
    np.testing.assert_array_equal(on_device, labels)


def test_mistakes_name_the_field():
    config = tiny.point_config()
    config.sample.batch_norm = "ema "
    with pytest.raises(errors.ConfigError, match=r"sample\.batch_norm = 'ema '.*running"):
        make_sampling(config)
    with pytest.raises(errors.ConfigError, match=r"sample\.standing_images = 0"):
        Sampling(standing_images=0)


def test_attributes_are_those_asked_for_on_the_scales_of_networks():
    vectors = np.array([[-1.0, 10.0], [1.0, 30.0], [1.0, 20.0]])

    field = attributes.field(("smiling", "age"), vectors, vectors)
    described = {**specs.points(), "label": field}

    class Described:
        """A game whose sample is its condition."""

        attributes, spec = field, described
        latent_dim = 1
        num_classes = None

        def latents(self, keys):
            return jax.numpy.zeros((len(keys), 1))

        def sample(self, variables, z, condition, *, keys, truncation, train):
            return condition["label"]

    def samples(label=None):
        class_of = in_turn(Described(), label)
        return Sampler(Described(), seed=0, batch_size=4, class_of=class_of).samples({}, 4)

    # Ages are 20 with a deviation of the root of 200 / 3; smiling stays as it is.
    unit = (200 / 3) ** 0.5
    np.testing.assert_allclose(
        samples(), [[-1, -10 / unit], [1, 10 / unit], [1, 0], [-1, -10 / unit]], rtol=1e-5
    )
    np.testing.assert_allclose(samples("smiling=0.5,age=30")[0], [0.5, 10 / unit], rtol=1e-5)
    labels = first_labels(Described(), 4, "age=30")
    np.testing.assert_array_equal(labels, [[-1, 30], [1, 30], [-1, 30], [1, 30]])
