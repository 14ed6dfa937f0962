"""InfoGAN: the codes in the latent vector, which are recovered from the data."""

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.games.codes import Codes
from tests.training import tiny

CODES = Codes(noise=3, categorical=(4, 2), continuous=2)


def drawn(count=4000):
    return np.asarray(CODES.draw(jax.random.split(jax.random.key(0), count)))


def test_a_latent_vector_is_noise_then_one_hot_codes_then_uniform_ones():
    z = drawn()
    assert z.shape == (4000, 3 + 4 + 2 + 2)
    assert CODES.latent_dim == 11
    np.testing.assert_allclose(z[:, :3].mean(0), 0.0, atol=0.06)
    np.testing.assert_allclose(z[:, :3].std(0), 1.0, atol=0.05)
    for place, size in ((slice(3, 7), 4), (slice(7, 9), 2)):
        assert set(np.unique(z[:, place])) == {0.0, 1.0}
        np.testing.assert_array_equal(z[:, place].sum(1), 1.0)
        np.testing.assert_allclose(z[:, place].mean(0), 1 / size, atol=0.03)
    codes = z[:, 9:]
    assert -1.0 <= codes.min() < -0.99
    assert 0.99 < codes.max() <= 1.0
    np.testing.assert_allclose(codes.mean(0), 0.0, atol=0.04)
    # The parts know nothing of each other.
    correlation = np.corrcoef(z.T)
    for one, other in ((0, 3), (3, 7), (0, 9), (9, 10), (4, 9)):
        assert abs(correlation[one, other]) < 0.06


@pytest.mark.slow
def test_a_latent_depends_on_its_own_key_alone():
    keys = jax.random.split(jax.random.key(1), 6)
    np.testing.assert_array_equal(CODES.draw(keys)[4:], CODES.draw(keys[4:]))


def test_truncation_limits_the_noise_and_leaves_the_codes():
    z = CODES.draw(jax.random.split(jax.random.key(2), 500))
    limited = np.asarray(CODES.truncate(z, 0.5))
    assert np.abs(limited[:, :3]).max() <= 0.5
    np.testing.assert_array_equal(limited[:, 3:], z[:, 3:])


def test_traversals_change_one_code_and_nothing_else():
    z = drawn(3)
    categories = CODES.traverse(z, "category_0")
    assert categories.shape == (3, 4, 11)
    np.testing.assert_array_equal(categories[1, :, 3:7], np.eye(4))
    others = [*range(3), *range(7, 11)]
    np.testing.assert_array_equal(categories[:, 2][:, others], z[:, others])
    continuous = CODES.traverse(z, "continuous_1", steps=5, limit=2.0)
    np.testing.assert_allclose(continuous[0, :, 10], [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(continuous[:, 3, :10], z[:, :10])
    with pytest.raises(errors.ConfigError, match=r"'category_2'.*category_0, category_1, cont"):
        CODES.traverse(z, "category_2")


@pytest.mark.slow
def test_codes_are_recovered_after_some_training():
    config = tiny.info_config()
    config.num_devices = 1
    config.generator.mlp.features = config.discriminator.mlp.features = (32, 32)
    config.terms.information.update(categorical=(4,), continuous=0)
    config.train.batch_size = 64
    for optimizer in (config.optimizer.generator, config.optimizer.discriminator):
        optimizer.learning_rate = 3e-3
    state, training = tiny.run(config, 300)
    game = training.game
    z = game.latents(jax.random.split(jax.random.key(5), 400))
    variables = {name: network.variables for name, network in state.networks.items()}
    heads = game.discriminator.apply(
        variables["discriminator"], game.sample(variables, z), train=False, method="judge"
    ).heads
    right = np.argmax(heads["category_0"], 1) == np.argmax(z[:, -4:], 1)
    assert right.mean() > 0.8  # By chance: 0.25.
