"""Networks that see attributes in place of classes, which are one-hot attribute vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import registry

ONE_HOT = tuple(map(tuple, np.eye(3).tolist()))
LABELS = jnp.array([0, 2, 1, 2])


def make(role, conditioning, attributes=None, classes=3):
    fields = {"normalization": "none"} if role == "discriminator" else {"latent_dim": 4}
    return registry.make(
        role,
        "dcgan",
        shape=(8, 8, 1),
        features=4,
        conditioning=conditioning,
        num_classes=classes,
        attributes=attributes,
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


@pytest.mark.parametrize(("role", "conditioning"), CASES)
def test_one_hot_attributes_are_classes(role, conditioning):
    x, condition = inputs(role), {"label": LABELS}
    plain, described = (make(role, conditioning, table) for table in (None, ONE_HOT))
    variables = jax.jit(plain.init)(jax.random.key(0), x, condition)
    params = noise(variables["params"])
    other = dict(params)
    if conditioning == "projection":
        other["projection"] = {"kernel": params["projection"]["embedding"]}
    made = [
        jax.jit(lambda v, m=module: m.apply(v, x, condition, train=False))(
            variables | {"params": p}
        )
        for module, p in ((plain, params), (described, other))
    ]
    np.testing.assert_allclose(made[0], made[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("role", "conditioning"), CASES)
def test_there_are_as_many_weights_as_attributes(role, conditioning):
    table = tuple((float(k), -1.0) for k in range(50))
    network = make(role, conditioning, table, classes=50)
    params = jax.eval_shape(network.init, jax.random.key(0), inputs(role), {"label": LABELS})
    leaves = jax.tree.leaves_with_path(params["params"])
    assert not [path for path, leaf in leaves if 50 in leaf.shape]
    assert [path for path, leaf in leaves if set(leaf.shape) & {2, 4 + 2, 1 + 2}]
