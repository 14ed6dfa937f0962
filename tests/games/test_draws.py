"""Random draws do not depend on how the batch is split over devices."""

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from gan_jax.games import draws
from tests.devices import sharded


def test_examples_draw_alike_however_the_batch_is_split():
    key = jax.random.key(3)
    keys = draws.example_keys(key, 16)
    whole = jax.vmap(jax.random.bits)(keys), draws.latents(keys, 5)

    def part(_):
        keys = draws.example_keys(key, 2, "data")
        return jax.vmap(jax.random.bits)(keys), draws.latents(keys, 5)

    bits, latents = sharded(part, P("data"), P("data"))(np.zeros(8))
    np.testing.assert_array_equal(bits, whole[0])
    # From the same bits; the last digit depends on how many normals are computed at once.
    np.testing.assert_allclose(latents, whole[1], rtol=1e-6)


def test_latents_are_standard_normal_and_independent():
    z = np.asarray(draws.latents(draws.example_keys(jax.random.key(0), 4000), 8))
    # 32,000 draws: five standard errors of the mean, and of each covariance.
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    np.testing.assert_allclose(np.cov(z.T), np.eye(8), atol=5 * np.sqrt(2 / 4000))


def test_truncation_gives_the_truncated_normal_of_the_same_key():
    keys = draws.example_keys(jax.random.key(0), 1000)
    z = draws.latents(keys, 8)
    # float32 has few digits for the quantiles of the tails.
    for limit, atol in ((0.04, 1e-6), (0.5, 1e-6), (2.0, 1e-5), (6.0, 5e-3)):
        expected = jax.vmap(lambda k, t=limit: jax.random.truncated_normal(k, -t, t, (8,)))(keys)
        found = draws.truncate(z, limit)
        assert np.abs(found).max() <= limit
        np.testing.assert_allclose(found, expected, atol=atol)


def test_uses_are_told_apart_by_name():
    key = jax.random.key(0)
    a, b = (jax.random.key_data(draws.named(key, name)) for name in ("latent", "penalty"))
    assert not np.array_equal(a, b)
    # Frozen: another value here would change what every saved run does when it is resumed.
    np.testing.assert_array_equal(
        jax.random.key_data(draws.named(jax.random.key(0), "latent")),
        jax.random.key_data(jax.random.fold_in(jax.random.key(0), 0x6CF1FD73)),
    )
