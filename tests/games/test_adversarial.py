"""The adversarial game: a whole WGAN-GP train step in PyTorch, which fakes the players see."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data import spec as specs
from gan_jax.games import draws
from gan_jax.runs import build
from tests.games import stub
from tests.training import tiny


def mlp_config():
    config = tiny.sgd(tiny.point_config(), learning_rate=0.1)
    config.loss.name = "wasserstein"
    config.penalty.update(name="wgan_gp", weight=10.0)
    config.game.discriminator_steps = 2
    config.generator.latent_dim = 3
    config.num_devices = 1
    return config


def torch_layers(torch, params):
    """Return an MLP's layers as PyTorch tensors that take gradients."""
    return [
        {
            name: torch.tensor(np.asarray(params[layer][name]), requires_grad=True)
            for name in ("kernel", "bias")
        }
        for layer in sorted(params)
    ]


def mlp(torch, layers, x):
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


@pytest.mark.slow
def test_a_whole_train_step_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    config = mlp_config()
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
        fake = mlp(torch, generator, latents("discriminator", i)).detach()
        epsilon = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(
            drawn("discriminator", i, "penalty")
        )
        epsilon = torch.tensor(np.asarray(epsilon))[:, None]
        between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
        score = mlp(torch, critic, between).sum()
        (slope,) = torch.autograd.grad(score, between, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        loss = mlp(torch, critic, fake).mean() - mlp(torch, critic, real).mean()
        take_step(torch, critic, loss + 10 * penalty, 0.1)
    fake = mlp(torch, generator, latents("generator", 0))
    take_step(torch, generator, -mlp(torch, critic, fake).mean(), 0.1)

    mapped = training.parallel
    state, _ = mapped(start, mapped.put_replicated(data), mapped.put_batch(batch))
    for name, layers in (("generator", generator), ("discriminator", critic)):
        params = state.networks[name].params
        for layer, theirs in zip(sorted(params), layers, strict=True):
            for leaf in ("kernel", "bias"):
                np.testing.assert_allclose(
                    params[layer][leaf], theirs[leaf].detach(), rtol=1e-4, atol=1e-6
                )


@pytest.mark.slow
def test_the_generator_learns_from_its_best_images_alone():
    config = tiny.point_config()
    config.fakes.update(top_k=0.25, top_k_decay=0.5, top_k_steps=1)
    for count, kept in ((0, 8), (1, 4), (9, 2)):
        game, turn = stub.begin(config, batch=8, count=count)
        loss, _ = stub.loss(game, "generator", turn)
        scores = stub.verdict(game, turn, stub.generated(game, turn)).scores
        best = np.sort(scores)[-kept:]
        np.testing.assert_allclose(loss, np.log1p(np.exp(-best)).mean(), rtol=1e-5)


@pytest.mark.slow
def test_past_fakes_are_shown_with_the_labels_that_they_were_made_for():
    config = tiny.point_config()
    config.fakes.history = 8
    game, turn = stub.begin(config, batch=8)
    memory = stub.loss(game, "discriminator", turn)[1].memory
    assert int(memory["history"].count) == 8
    points, condition = memory["history"].images
    np.testing.assert_allclose(points, stub.generated(game, turn), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(condition["label"], turn.batch["label"])
    later = dataclasses.replace(turn, memory=memory, key=draws.named(turn.key, "later"))
    shown = stub.loss(game, "discriminator", later)[1].metrics["fake_score"]
    fresh = stub.verdict(game, later, stub.generated(game, later)).scores.mean()
    assert abs(shown - fresh) > 1e-6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fakes.top_k": 0.0}, "fakes.top_k = 0.0"),
        ({"fakes.history": -1}, "fakes.history = -1; accepted: 0 or more"),
        ({"game.clip": 0.0}, "game.clip = 0.0; accepted: a number above 0, or none"),
        ({"generator.conditioning": "concat"}, "accepted: 'none' for both, or for neither"),
        (
            {"game.joint_batch": True, "discriminator.mlp.minibatch": "discrimination"},
            "game.joint_batch = True: discrimination would compare real images with fakes",
        ),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    config = tiny.point_config()
    config.update_from_flattened_dict(fields)
    assert message in stub.refusal(config, specs.points(3))
