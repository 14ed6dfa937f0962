"""The benchmark measures what it says: its PyTorch contestant is the same networks and loss."""

import argparse

import jax
import numpy as np
import pytest

from gan_jax.losses import penalties
from gan_jax.networks import registry

SHAPE, LATENT = (16, 16, 3), 8


@pytest.fixture
def reference():
    pytest.importorskip("torch")
    from scripts import pytorch_reference

    return pytorch_reference


def ours(make):
    fields = {"latent_dim": LATENT} if make is registry.make_generator else {}
    module = make("resnet", shape=SHAPE, features=8, **fields)
    x = np.zeros((1, LATENT) if fields else (1, *SHAPE), np.float32)
    variables = module.init(jax.random.key(0), x, train=False)
    # Biases start at zero, where a mistake in their order would not show.
    leaves, structure = jax.tree.flatten(variables["params"])
    rng = np.random.default_rng(0)
    moved = [leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return module, {**variables, "params": jax.tree.unflatten(structure, moved)}


def test_generators_are_the_same(reference):
    import torch

    module, variables = ours(registry.make_generator)
    theirs = reference.Generator(16, 3, 8, LATENT)
    reference.copy_weights(theirs, variables["params"])
    z = np.random.default_rng(1).normal(size=(4, LATENT)).astype(np.float32)
    made = module.apply(variables, z, train=True, mutable=["batch_stats"])[0]
    expected = theirs(torch.tensor(z)).detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_critics_and_their_penalties_are_the_same(reference):
    import torch

    module, variables = ours(registry.make_discriminator)
    theirs = reference.Critic(16, 3, 8)
    reference.copy_weights(theirs, variables["params"])
    x = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    image = torch.tensor(x.transpose(0, 3, 1, 2))

    def critic(images):
        return module.apply(variables, images, train=True)

    np.testing.assert_allclose(critic(x), theirs(image).detach(), rtol=1e-4, atol=1e-5)
    values = penalties.wgan_gp(critic, x, x, np.zeros(4, np.float32))
    expected = reference.penalty(theirs, image).detach()
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


def test_steps_are_timed_side_by_side(reference):
    from scripts import benchmark

    arguments = argparse.Namespace(
        resolution=16,
        channels=1,
        features=4,
        batch_size=2,
        critic_steps=1,
        repeats=1,
        steps_per_call=1,
    )
    rows = benchmark.measure_step(arguments)
    assert [row["step"] for row in rows][:2] == ["gan_jax float32", "PyTorch eager"]
    for row in rows:
        assert row["ms, median"] > 0
    assert rows[0]["time / gan_jax's"] == 1.0
