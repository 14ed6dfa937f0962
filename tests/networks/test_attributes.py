"""Networks that see attributes: classes are those whose vectors are one-hot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import registry

LABELS = jnp.array([0, 2, 1, 2])


def make(role, conditioning, size=3):
    fields = {"normalization": "none"} if role == "discriminator" else {"latent_dim": 4}
    return registry.make(
        role,
        "dcgan",
        shape=(8, 8, 1),
        features=4,
        conditioning=conditioning,
        num_classes=size,
        **fields,
    )


def inputs(role):
    shape = (4, 8, 8, 1) if role == "discriminator" else (4, 4)
    return jax.random.normal(jax.random.key(1), shape)


def noise(params):
    """Return parameters of the same shapes: those of a new conditional layer are zero."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    drawn = [0.1 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


CASES = [
    ("generator", "concat"),
    ("generator", "batch_norm"),
    ("discriminator", "concat"),
    ("discriminator", "projection"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("role", "conditioning"), CASES)
def test_one_hot_attributes_are_classes(role, conditioning):
    x, network = inputs(role), make(role, conditioning)
    params = noise(jax.jit(network.init)(jax.random.key(0), x, {"label": LABELS})["params"])
    other = dict(params)
    if conditioning == "projection":
        other["projection"] = {"kernel": params["projection"]["embedding"]}
    variables = jax.jit(network.init)(jax.random.key(0), x, {"label": jax.nn.one_hot(LABELS, 3)})
    assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, other)
    made = [
        jax.jit(lambda v, c: network.apply(v, x, c, train=False))(
            variables | {"params": own}, {"label": label}
        )
        for own, label in ((params, LABELS), (other, jax.nn.one_hot(LABELS, 3)))
    ]
    np.testing.assert_allclose(made[0], made[1], rtol=1e-5, atol=1e-6)
