"""DF-GAN: sentence vectors, fusion, and a discriminator of captions or of their vectors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks import registry
from gan_jax.networks.captioned import SENTENCE, SentenceEncoder
from gan_jax.networks.dfgan import Fusion
from gan_jax.networks.verdict import Head
from tests.networks.pytorch import conv, drawn, images_in, images_out

CAPTIONS = jnp.array([[1, 2, 3, 0], [3, 1, 2, 0], [4, 2, 3, 0]])


def make(role, **fields):
    given = {"shape": (8, 8, 3), "features": 1, "sentence_dim": 6, "num_classes": 5}
    given |= {"conditioning": "text"} | ({"latent_dim": 4} if role == "generator" else {})
    return registry.make(role, "dfgan", **given | fields)


@functools.cache
def started(role):
    """Return a network, parameters that are nowhere zero, and inputs."""
    network = make(role)
    x = jax.random.normal(jax.random.key(1), (3, 4) if role == "generator" else (3, 8, 8, 3))
    params = jax.jit(network.init)(jax.random.key(0), x, {"label": CAPTIONS})
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return network, tree.unflatten([rng.normal(0, 0.5, p.shape).astype("f") for p in leaves]), x


def test_sentence_vectors_have_unit_size_whatever_the_order_and_the_padding():
    encoder = SentenceEncoder(5, 6)
    variables = encoder.init(jax.random.key(0), CAPTIONS)
    vectors = encoder.apply(variables, CAPTIONS)
    np.testing.assert_allclose(jnp.mean(vectors**2, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-5, atol=1e-6)
    assert jnp.abs(vectors[0] - vectors[2]).max() > 0.1
    longer = jnp.pad(CAPTIONS, ((0, 0), (0, 3)))
    np.testing.assert_allclose(encoder.apply(variables, longer), vectors, rtol=1e-6)
    table = variables["params"]["Embed_0"]["embedding"]
    total = table[1] + table[2] + table[3]
    np.testing.assert_allclose(
        vectors[0], total / jnp.sqrt(jnp.mean(total**2)), rtol=1e-5, atol=1e-6
    )
    empty = encoder.apply(variables, jnp.zeros((1, 4), jnp.int32))
    np.testing.assert_array_equal(empty, 0.0)


def test_fusion_scales_and_shifts_channels_before_its_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 2))
    vectors = jnp.array([[1.0], [2.0]])
    fusion = Fusion(2)
    params = fusion.init(jax.random.key(1), x, vectors)["params"]
    # Scales 1 + 3 v and shifts -v, then scales 1 and shifts 0; the convolution is the identity.
    for number, last in ((1, 3.0), (3, -1.0), (5, 0.0), (7, 0.0)):
        params[f"Dense_{number - 1}"] = {"kernel": jnp.ones((1, 2)), "bias": jnp.zeros(2)}
        params[f"Dense_{number}"] = {"kernel": last * jnp.eye(2), "bias": jnp.zeros(2)}
    params["Conv_0"] = {
        "kernel": jnp.zeros((3, 3, 2, 2)).at[1, 1].set(jnp.eye(2)),
        "bias": jnp.zeros(2),
    }
    y = fusion.apply({"params": params}, x, vectors)
    v = vectors[:, :, None, None]
    once = (1 + 3 * v) * x - v
    slope = np.where(once < 0, 0.2**2, 1.0)
    np.testing.assert_allclose(y, slope * once, rtol=1e-5, atol=1e-6)


def test_generator_equals_pytorch():
    """PyTorch enlarges first, as the paper does, and leaves every other operation for later."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    network = make("generator", conditioning="none", shape=(16, 16, 3))
    z = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    variables = drawn(network, z)
    params = variables["params"]

    def dense(x, layer):
        return x @ layer["kernel"] + layer["bias"]

    def activated(h):
        return torch.nn.functional.leaky_relu(h, 0.2)

    def fused(h, layer):
        numbers = [
            dense(np.maximum(dense(z, layer[f"Dense_{i}"]), 0.0), layer[f"Dense_{i + 1}"])
            for i in (0, 2, 4, 6)
        ]
        first, shift, second, last = (torch.tensor(x)[:, :, None, None] for x in numbers)
        h = activated((1.0 + second) * activated((1.0 + first) * h + shift) + last)
        return conv(torch, h, layer["Conv_0"], padding=1)

    h = images_in(torch, dense(z, params["Dense_0"]).reshape(2, 4, 4, -1))
    for i in range(2):
        h = torch.nn.functional.interpolate(h, scale_factor=2, mode="nearest")
        residual = fused(fused(h, params[f"Fusion_{2 * i}"]), params[f"Fusion_{2 * i + 1}"])
        h = conv(torch, h, params[f"Conv_{i}"]) + residual
    image = torch.tanh(0.1 * conv(torch, activated(h), params["Conv_2"], padding=1))
    scaled = {**params, "Conv_2": jax.tree.map(lambda x: 0.1 * x, params["Conv_2"])}
    ours = jax.jit(network.apply)({"params": scaled}, z)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, images_out(image), atol=1e-4)


def test_samples_and_scores_depend_on_the_words_alone():
    for role in ("generator", "discriminator"):
        network, variables, x = started(role)
        same = jnp.broadcast_to(x[:1], x.shape)
        out = jax.jit(network.apply)(variables, same, {"label": CAPTIONS})
        np.testing.assert_allclose(out[0], out[1], rtol=1e-4, atol=1e-5)
        assert jnp.abs(out[0] - out[2]).max() > 1e-3, role


def test_a_verdict_has_the_sentence_which_can_be_given_in_place_of_the_caption():
    network, variables, x = started("discriminator")
    judge = jax.jit(functools.partial(network.apply, method="judge"))
    verdict = judge(variables, x, {"label": CAPTIONS})
    sentence = verdict.heads[SENTENCE]
    assert sentence.shape == (3, 6)
    again = judge(variables, x, {SENTENCE: sentence})
    np.testing.assert_allclose(again.scores, verdict.scores, rtol=1e-5)
    other = judge(variables, x, {SENTENCE: sentence[::-1]})
    assert jnp.abs(other.scores - verdict.scores)[0] > 1e-3


def test_without_text_there_is_no_encoder():
    for role in ("generator", "discriminator"):
        _, _, x = started(role)
        network = make(role, conditioning="none")
        params = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
        assert "encoder" not in params


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        ("generator", {"features": 0}, "generator.dfgan.features = 0"),
        ("generator", {"sentence_dim": 0}, "generator.dfgan.sentence_dim = 0"),
        ("generator", {"conditioning": "concat"}, "generator.conditioning = 'concat'"),
        ("discriminator", {"num_classes": None}, "discriminator.conditioning = 'text' needs"),
        ("discriminator", {"max_features": -1}, "discriminator.dfgan.max_features = -1"),
        ("discriminator", {"heads": (Head("class", 3),)}, "'dfgan' cannot predict class; accepted"),
        ("discriminator", {"shape": (6, 6, 3)}, "data.resolution = 6 cannot be made by dfgan"),
    ],
)
def test_fields_that_cannot_work_are_refused(role, fields, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(role, **fields)
