"""SEGAN's networks: shapes, lengths, skip connections, noise, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.segan import FEATURES
from gan_jax.errors import ConfigError
from gan_jax.networks.registry import make
from gan_jax.networks.segan import SEGANDiscriminator, SEGANGenerator
from tests.networks.pytorch import drawn

SOUND = np.random.default_rng(0).uniform(-1, 1, (3, 32, 2)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(1), 3)
WIDTHS = (4, 6, 6)


def generator(**fields):
    return make("translator", "segan", shape=(32, 2), outputs=2, features=WIDTHS, **fields)


def test_the_papers_networks_have_its_sizes():
    module = SEGANGenerator((16_384, 1), 1, features=FEATURES)
    x = jax.ShapeDtypeStruct((1, 16_384, 1), jnp.float32)
    made, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), x)
    assert (made.shape, module.multiple) == ((1, 16_384, 1), 2048)
    kernels = {k: v["kernel"].shape for k, v in variables["params"].items() if "kernel" in v}
    for i, (before, width) in enumerate(zip((1, *FEATURES), FEATURES, strict=False)):
        assert kernels[f"Conv_{i}"] == (1, 31, before, width)
    # The innermost map has 8 steps, beside as much noise; others have their skip connection.
    assert kernels["ConvTranspose_0"] == (1, 31, 2048, 512)
    assert kernels["ConvTranspose_10"] == (1, 31, 32, 1)
    judge = SEGANDiscriminator((16_384, 2), features=FEATURES)
    pair = jax.ShapeDtypeStruct((1, 16_384, 2), jnp.float32)
    variables = jax.eval_shape(judge.init, jax.random.key(0), pair)
    assert variables["params"]["Dense_0"]["kernel"].shape == (8, 1)


def test_sounds_of_other_lengths_are_translated_alike():
    module = generator()
    variables = drawn(module, SOUND)
    apply = jax.jit(lambda x: module.apply(variables, x, train=False))
    longer = np.concatenate([np.zeros_like(SOUND)] * 20 + [SOUND] + [np.zeros_like(SOUND)] * 20, 1)
    shifted = np.roll(longer, 8, axis=1)
    # Steps of the innermost map are 8 samples.
    made, moved = apply(longer), apply(shifted)
    np.testing.assert_allclose(moved[:, 328:1000], made[:, 320:992], atol=2e-5)
    assert np.abs(made).max() > 0.1
    with pytest.raises(ValueError, match="an input of 30; accepted: multiples of 8"):
        module.apply(variables, SOUND[:, :30], train=False)


def test_noise_is_of_an_examples_own_key_and_absent_without_keys():
    module = generator()
    variables = drawn(module, SOUND)
    apply = jax.jit(lambda x, keys: module.apply(variables, x, keys=keys))
    plain, noisy = apply(SOUND, None), apply(SOUND, KEYS)
    assert np.abs(plain - noisy).max() > 1e-3
    np.testing.assert_allclose(apply(SOUND[1:2], KEYS[1:2])[0], noisy[1], atol=1e-5)
    assert not np.allclose(apply(SOUND, KEYS[::-1])[0], noisy[0], atol=1e-4)
    quiet = generator(noise=False)
    variables = drawn(quiet, SOUND)
    made = [quiet.apply(variables, SOUND, keys=keys) for keys in (None, KEYS)]
    np.testing.assert_array_equal(*made)


def test_every_level_is_skipped_to_the_output():
    """With the innermost transposed convolutions at 0, the sound still reaches the output."""
    module = generator(noise=False)
    params = drawn(module, SOUND)["params"]
    for level in range(3):
        inner = [f"ConvTranspose_{i}" for i in range(level)]
        blocked = params | {name: jax.tree.map(np.zeros_like, params[name]) for name in inner}

        def made(x, p=blocked):
            return module.apply({"params": p}, x).sum()

        assert np.abs(jax.jit(jax.grad(made))(SOUND)).max() > 1e-4


def test_residual_networks_start_as_the_identity():
    module = generator(output="residual")
    made, _ = module.init_with_output(jax.random.key(0), SOUND)
    np.testing.assert_array_equal(made, SOUND)


@pytest.mark.parametrize("shape", [(32,), (4, 32, 2)])
def test_other_data_than_sound_are_refused(shape):
    for role, more in (("translator", {"outputs": 1}), ("discriminator", {})):
        with pytest.raises(ConfigError, match=r"data\.name: segan is a network for sound"):
            make(role, "segan", shape=shape, features=(2,), **more)


def test_lengths_and_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match=r"30 samples.*2 widths of generator\.segan.*of 4"):
        make("translator", "segan", shape=(30, 1), outputs=1, features=(2, 2))
    with pytest.raises(ConfigError, match=r"discriminator\.segan\.features = \(0,\)"):
        make("discriminator", "segan", shape=(32, 1), features=(0,))
    with pytest.raises(ConfigError, match=r"generator\.segan\.normalization = 'batch'"):
        generator(normalization="batch")
