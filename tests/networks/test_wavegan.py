"""WaveGAN's networks: the paper's sizes, parity with PyTorch, and phase shuffle."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks import wavegan
from gan_jax.networks.registry import make
from tests.networks import pytorch

TORCH = "PyTorch is the reference (extra: parity)"


def kernels(role, shape):
    """Return the shapes of all kernels at the paper's widths: traced, not computed."""
    module = make(role, "wavegan", shape=shape)
    x = jnp.zeros((1, *shape) if role == "discriminator" else (1, module.latent_dim))
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    return {name: layer["kernel"].shape for name, layer in params.items()}


def test_networks_have_the_papers_layers():
    widths = [1, 64, 128, 256, 512, 1024]
    convolutions = [(1, 25, a, b) for a, b in itertools.pairwise(widths)]
    assert kernels("discriminator", (16_384, 1)) == {
        **{f"Conv_{i}": shape for i, shape in enumerate(convolutions)},
        "Dense_0": (16 * 1024, 1),
    }
    turned = [(1, 25, b, a) for _, _, a, b in reversed(convolutions)]
    assert kernels("generator", (16_384, 1)) == {
        **{f"ConvTranspose_{i}": shape for i, shape in enumerate(turned)},
        "Dense_0": (100, 16 * 1024),
    }


@pytest.mark.parametrize(
    ("samples", "count"), [(64, 1), (192, 1), (256, 2), (1024, 3), (16_384, 5), (65_536, 6)]
)
def test_sounds_are_reduced_to_16_to_63_steps(samples, count):
    assert wavegan.reductions(samples) == count
    shapes = kernels("discriminator", (samples, 2))
    assert len(shapes) == count + 1
    assert shapes["Dense_0"] == (samples // 4**count * (64 << (count - 1)), 1)


def kernel(torch, layer, *axes):
    return pytorch.tensor(torch, np.asarray(layer["kernel"])[0].transpose(*axes))


def test_scores_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason=TORCH)
    functional = torch.nn.functional
    module = make("discriminator", "wavegan", shape=(256, 2), features=3)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 256, 2)).astype(np.float32)
    params = (variables := pytorch.drawn(module, x))["params"]
    h = pytorch.tensor(torch, x.transpose(0, 2, 1))
    for layer in (params["Conv_0"], params["Conv_1"]):
        # TensorFlow's "SAME".
        h = functional.pad(h, (10, 11))
        weight, bias = kernel(torch, layer, 2, 1, 0), pytorch.tensor(torch, layer["bias"])
        h = functional.leaky_relu(functional.conv1d(h, weight, bias, stride=4), 0.2)
    last = params["Dense_0"]
    flat = h.numpy().transpose(0, 2, 1).reshape(4, -1)
    expected = flat @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
    scores = jax.jit(module.apply)(variables, x)
    np.testing.assert_allclose(scores, expected[:, 0], rtol=1e-4, atol=1e-4)


def test_sounds_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason=TORCH)
    functional = torch.nn.functional
    module = make("generator", "wavegan", shape=(256, 2), features=3, latent_dim=5)
    z = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    params = (variables := pytorch.drawn(module, z))["params"]
    first = params["Dense_0"]
    dense = z @ np.asarray(first["kernel"]) + np.asarray(first["bias"])
    h = pytorch.tensor(torch, dense.reshape(4, 16, 6).transpose(0, 2, 1))
    for layer in (params["ConvTranspose_0"], params["ConvTranspose_1"]):
        # Ours takes its kernel turned; one sample more than four times as many is left out.
        weight = kernel(torch, layer, 1, 2, 0).flip(-1)
        bias = pytorch.tensor(torch, layer["bias"])
        h = functional.conv_transpose1d(functional.relu(h), weight, bias, stride=4, padding=10)
        h = h[..., :-1]
    expected = torch.tanh(h).numpy().transpose(0, 2, 1)
    sounds = jax.jit(module.apply)(variables, z)
    np.testing.assert_allclose(sounds, expected, atol=1e-5)


def test_phase_shuffle_shifts_each_example_by_its_key_and_reflects():
    x = np.random.default_rng(0).normal(size=(100, 1, 7, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 100)
    shuffled = np.asarray(wavegan.phase_shuffle(x, keys, 2))
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="reflect")
    shifted = np.stack([padded[:, :, start : start + 7] for start in range(5)])
    found = (shifted == shuffled).all(axis=(2, 3, 4))
    # One shift of all channels for each example, and all five about equally often.
    assert found.sum(axis=0).tolist() == [1] * 100
    assert found.sum(axis=1).min() > 10
    part = wavegan.phase_shuffle(x[30:40], keys[30:40], 2)
    np.testing.assert_array_equal(part, shuffled[30:40])


def test_all_layers_but_the_last_are_shuffled_if_there_are_keys(monkeypatch):
    seen = []

    def recorded(x, keys, most):
        seen.append((x.shape[1:], jax.random.key_data(keys), most))
        return x

    monkeypatch.setattr(wavegan, "phase_shuffle", recorded)
    module = make("discriminator", "wavegan", shape=(1024, 1), features=2, phase_shuffle=3)
    x = jnp.zeros((4, 1024, 1))
    keys = jax.random.split(jax.random.key(0), 4)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    assert seen == []
    jax.eval_shape(lambda v: module.apply(v, x), variables)
    still = module.clone(phase_shuffle=0)
    jax.eval_shape(lambda v: still.apply(v, x, keys=keys), variables)
    assert seen == []
    module.apply(pytorch.randomized(variables), x, keys=keys)
    assert [(shape, most) for shape, _, most in seen] == [((1, 256, 2), 3), ((1, 64, 4), 3)]
    assert len(np.unique(np.concatenate([keys for _, keys, _ in seen]), axis=0)) == 8


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        ("generator", {"shape": (16, 16, 1)}, r"shape \(16, 16, 1\); accepted: \(samples, channel"),
        ("discriminator", {"shape": (63, 1)}, r"sounds of 63 samples .*; accepted: 64 or more"),
        ("generator", {"shape": (8000, 1)}, "multiples of 256, such as 7936"),
        ("generator", {"features": 0}, r"generator\.wavegan\.features = 0 cannot work"),
        ("discriminator", {"phase_shuffle": 16}, "phase_shuffle = 16 cannot work; .* 0 to 15"),
    ],
)
def test_fields_that_cannot_work(role, fields, message):
    with pytest.raises(ConfigError, match=message):
        make(role, "wavegan", **{"shape": (256, 1), **fields})
