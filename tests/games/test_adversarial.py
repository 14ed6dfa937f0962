"""The adversarial game against an independent one: a whole WGAN-GP train step in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.games import draws
from gan_jax.runs import build
from tests.training import tiny


def config_with_perceptrons():
    config = tiny.sgd(tiny.point_config(), learning_rate=0.1)
    config.loss.name = "wasserstein"
    config.penalty.update(name="wgan_gp", weight=10.0)
    config.game.discriminator_steps = 2
    config.generator.latent_dim = 3
    config.num_devices = 1
    return config


def torch_layers(torch, params):
    """Return a perceptron's layers as PyTorch tensors that take gradients."""
    return [
        {
            name: torch.tensor(np.asarray(params[layer][name]), requires_grad=True)
            for name in ("kernel", "bias")
        }
        for layer in sorted(params)
    ]


def perceptron(torch, layers, x):
    for i, layer in enumerate(layers):
        x = x @ layer["kernel"] + layer["bias"]
        if i < len(layers) - 1:
            x = torch.nn.functional.leaky_relu(x, 0.2)
    return x


def take_step(torch, layers, loss, rate):
    tensors = [tensor for layer in layers for tensor in layer.values()]
    with torch.no_grad():
        for tensor, gradient in zip(tensors, torch.autograd.grad(loss, tensors), strict=True):
            tensor -= rate * gradient


def test_a_whole_train_step_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    config = config_with_perceptrons()
    training = build.make_training(config, tiny.spec(config))
    start = training.init_state()
    generator, critic = (
        torch_layers(torch, start.networks[name].params) for name in ("generator", "discriminator")
    )
    data, batch = tiny.data(config), tiny.index_batch(config, training, 0)
    step_key = jax.random.fold_in(start.key, 0)

    def drawn(player, index, use):
        key = jax.random.fold_in(draws.named(step_key, player), index)
        return draws.example_keys(draws.named(key, use), config.train.batch_size)

    def latents(player, index):
        return torch.tensor(np.asarray(draws.latents(drawn(player, index, "latent"), 3)))

    for i in range(2):
        real = torch.tensor(data["points"][batch["index"][0, i]])
        fake = perceptron(torch, generator, latents("discriminator", i)).detach()
        epsilon = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(
            drawn("discriminator", i, "penalty")
        )
        epsilon = torch.tensor(np.asarray(epsilon))[:, None]
        between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
        score = perceptron(torch, critic, between).sum()
        (slope,) = torch.autograd.grad(score, between, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        loss = perceptron(torch, critic, fake).mean() - perceptron(torch, critic, real).mean()
        take_step(torch, critic, loss + 10 * penalty, 0.1)
    fake = perceptron(torch, generator, latents("generator", 0))
    take_step(torch, generator, -perceptron(torch, critic, fake).mean(), 0.1)

    mapped = training.parallel
    state, _ = mapped(start, mapped.put_replicated(data), mapped.put_batch(batch))
    for name, layers in (("generator", generator), ("discriminator", critic)):
        params = state.networks[name].params
        for layer, theirs in zip(sorted(params), layers, strict=True):
            for leaf in ("kernel", "bias"):
                np.testing.assert_allclose(
                    params[layer][leaf], theirs[leaf].detach(), rtol=1e-4, atol=1e-6
                )
