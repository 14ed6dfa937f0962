"""TextGAN's networks: exact probabilities, the straight-through gradient, windows of tokens."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.registry import make
from gan_jax.networks.textgan import TEMPERATURE, straight_through
from tests.networks import pytorch

LENGTH, TOKENS = 3, 4


@functools.cache
def generator():
    """Return a generator whose tokens depend strongly on those before, and its variables."""
    module = make("generator", "textgan", shape=(LENGTH, TOKENS), latent_dim=2, features=5)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 2)))
    louder = jax.tree.map(lambda x: 2.0 * x, variables["params"])
    return module, {**variables, "params": louder}


@functools.cache
def likelihood(module):
    """Return the compiled method, which takes variables, latents and texts."""
    return jax.jit(functools.partial(module.apply, method="log_probabilities"))


def log_probabilities(z, text):
    module, variables = generator()
    return likelihood(module)(variables, np.broadcast_to(z, (len(text), 2)), text)


def every_text():
    numbers = np.array(list(itertools.product(range(TOKENS), repeat=LENGTH)))
    return np.eye(TOKENS, dtype=np.float32)[numbers]


def test_tokens_are_drawn_with_the_probabilities_that_the_network_states():
    module, variables = generator()
    z = np.array([[0.5, -1.0]], np.float32)
    text = every_text()
    logs = log_probabilities(z, text)
    assert logs.shape == (TOKENS**LENGTH, LENGTH)
    expected = np.exp(logs.sum(axis=1))
    assert expected.sum() == pytest.approx(1.0, rel=1e-5)
    assert expected.max() > 4 / TOKENS**LENGTH
    count = 20_000
    keys = jax.random.split(jax.random.key(1), count)
    apply = jax.jit(lambda keys: module.apply(variables, jnp.tile(z, (count, 1)), keys=keys))
    made = np.asarray(apply(keys))
    # Exactly one-hot.
    assert set(np.unique(made)) == {0.0, 1.0}
    np.testing.assert_array_equal(made.sum(axis=-1), 1.0)
    numbers = made.argmax(axis=-1) @ TOKENS ** np.arange(LENGTH)[::-1]
    found = np.bincount(numbers, minlength=TOKENS**LENGTH)
    mean = count * expected
    assert (np.abs(found - mean) < 5 * np.sqrt(mean) + 1).all()


def test_without_keys_every_token_is_the_most_probable():
    module, variables = generator()
    z = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)
    made = np.asarray(jax.jit(module.apply)(variables, z))
    for one, text in zip(z, made, strict=True):
        for place in range(LENGTH):
            others = np.tile(text, (TOKENS, 1, 1))
            others[:, place] = np.eye(TOKENS)
            logs = np.asarray(log_probabilities(one, others))[:, place]
            assert logs.argmax() == text[place].argmax()


def test_the_gradient_is_that_of_a_softmax_at_the_temperature():
    logits = np.array([[0.3, -1.0, 0.9], [2.0, 0.1, -0.4]], np.float32)
    weights = np.array([[0.2, 1.5, -0.7], [1.0, -2.0, 0.5]], np.float32)
    for temperature in (1.0, 0.25):
        value = lambda x, t=temperature: jnp.sum(straight_through(x, t) * weights)  # noqa: E731
        assert float(value(logits)) == pytest.approx(-0.7 + 1.0)
        soft = np.exp(logits / temperature)
        soft /= soft.sum(axis=1, keepdims=True)
        mean = (soft * weights).sum(axis=1, keepdims=True)
        expected = soft * (weights - mean) / temperature
        np.testing.assert_allclose(jax.grad(value)(logits), expected, rtol=1e-3, atol=1e-6)


def test_the_gradient_goes_through_the_tokens_before():
    """The bias of the logits reaches a place by its own logits, and by the tokens before."""
    module, variables = generator()
    keys, z = jax.random.split(jax.random.key(3), 8), np.ones((8, 2), np.float32)
    weights = np.arange(TOKENS, dtype=np.float32)

    @jax.jit
    def slopes(temperature):
        """Return the derivative of every place's weighted sum by the bias, and the texts."""

        def made(bias):
            cell = variables["params"]["cell"]
            cell = {**cell, "logits": {**cell["logits"], "bias": bias}}
            params = {**variables["params"], "cell": cell}
            state = {"params": params, TEMPERATURE: {"value": temperature}}
            text = module.apply(state, z, keys=keys)
            return jnp.sum(text @ weights, axis=0), text

        bias = variables["params"]["cell"]["logits"]["bias"]
        return jax.jacobian(made, has_aux=True)(bias)

    noise = jax.vmap(lambda key: jax.random.gumbel(key, (LENGTH, TOKENS)))(keys)
    for temperature in (1.0, 0.5):
        found, text = slopes(jnp.float32(temperature))
        logits = np.zeros((8, LENGTH, TOKENS))
        for token in range(TOKENS):
            for place in range(LENGTH):
                other = np.array(text)
                other[:, place] = np.eye(TOKENS)[token]
                logits[:, place, token] = likelihood(module)(variables, z, other)[:, place]
        soft = np.exp((logits + noise) / temperature)
        soft /= soft.sum(axis=-1, keepdims=True)
        own = soft * (weights - soft @ weights[:, None]) / temperature
        difference = np.abs(found - own.sum(axis=0)).max(axis=1)
        assert difference[0] < 1e-4
        assert (difference[1:] > 1e-2).all()


def test_the_temperature_falls_exponentially_to_its_end():
    settings = {"temperature": 2.0, "end_temperature": 0.5, "anneal_images": 1000}
    module = make("generator", "textgan", shape=(LENGTH, TOKENS), **settings)
    for images, expected in ((0, 2.0), (500, 1.0), (1000, 0.5), (9000, 0.5)):
        found = module.scheduled(jnp.int32(images))[TEMPERATURE]["value"]
        assert found.dtype == jnp.float32
        assert float(found) == pytest.approx(expected)
    first = module.init(jax.random.key(0), jnp.zeros((1, 32)))[TEMPERATURE]["value"]
    assert float(first) == 2.0


def test_scores_are_those_of_convolutions_in_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    functional = torch.nn.functional
    module = make("discriminator", "textgan", shape=(7, TOKENS), features=5, layers=2, window=5)
    x = np.random.default_rng(0).uniform(size=(3, 7, TOKENS)).astype(np.float32)
    params = (variables := pytorch.drawn(module, x))["params"]
    h = pytorch.tensor(torch, (x @ params["embedding"]["kernel"]).transpose(0, 2, 1))
    for name in ("Dense_0", "Dense_1"):
        kernel = np.asarray(params[name]["kernel"]).reshape(5, 5, 5)  # [window, in, out]
        weight = pytorch.tensor(torch, kernel.transpose(2, 1, 0))
        bias = pytorch.tensor(torch, params[name]["bias"])
        h = functional.leaky_relu(functional.conv1d(h, weight, bias, padding=2), 0.2)
    flat = h.numpy().transpose(0, 2, 1).reshape(3, -1)
    last = params["Dense_2"]
    expected = flat @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
    scores = jax.jit(module.apply)(variables, x)
    np.testing.assert_allclose(scores, expected[:, 0], rtol=1e-4, atol=1e-4)


def test_bfloat16_makes_one_hot_vectors_and_float32_likelihoods():
    module, variables = generator()
    half = module.clone(dtype=jnp.bfloat16)
    z, text = jnp.ones((TOKENS**LENGTH, 2)), every_text()
    made = jax.jit(half.apply)(variables, z)
    assert made.dtype == jnp.float32
    assert set(np.unique(made)) == {0.0, 1.0}
    logs = likelihood(half)(variables, z, text)
    exact = log_probabilities(z[:1], text)
    assert logs.dtype == jnp.float32
    assert 0.0 < np.abs(logs - exact).max() < 0.1


@pytest.mark.parametrize(
    ("role", "shape", "fields", "message"),
    [
        ("generator", (8, 8, 1), {}, r"generator\.name = 'textgan' is a network for text, but one"),
        ("discriminator", (2,), {}, r"discriminator\.name = 'textgan' is a network for text"),
        ("generator", (6, 5), {"features": 0}, r"generator\.textgan\.features = 0"),
        ("generator", (6, 5), {"end_temperature": 0.0}, r"end_temperature = 0\.0; accepted: a num"),
        ("generator", (6, 5), {"anneal_images": 0}, r"generator\.textgan\.anneal_images = 0"),
        ("discriminator", (6, 5), {"window": 4}, r"window = 4; accepted: an odd number"),
    ],
)
def test_what_cannot_work_is_refused(role, shape, fields, message):
    with pytest.raises(ConfigError, match=message):
        make(role, "textgan", shape=shape, **fields)
