"""Directions are those of known weights and planted axes, for any generator."""

import functools
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.games import draws
from gan_jax.inference import directions
from gan_jax.inference.rendering import latents, points
from gan_jax.layers.equalized import equalized_scale
from gan_jax.networks.registry import make
from gan_jax.training import spaces
from tests.inference.styled import styled
from tests.networks.test_contract import GENERATOR_FIELDS
from tests.training.tiny import spec_of

SHAPE = (8, 8, 1)


class Game:
    """Makes data by a module of latents."""

    networks: ClassVar = {}
    attributes = num_classes = None

    def __init__(self, module, shape=SHAPE, latent_dim=4):
        self.module, self.shape, self.latent_dim = module, shape, latent_dim
        self.spec = spec_of(shape)
        init = jax.jit(functools.partial(module.init, train=False))
        z = jnp.zeros((1, latent_dim))
        self.variables = {"generator": dict(init(jax.random.key(0), z))}

    def latents(self, keys):
        """Return normal latents."""
        return draws.latents(keys, self.latent_dim)

    def sample(self, variables, z, condition=None, *, truncation=None, train=False):
        """Return data of latents."""
        data = self.module.apply(variables["generator"], z, train=train)
        return data.reshape(-1, *self.shape)


class Layers(nn.Module):
    """Dense layers with tanh between them."""

    features: tuple[int, ...]

    @nn.compact
    def __call__(self, z, train):
        for index, width in enumerate(self.features):
            z = nn.Dense(width)(jnp.tanh(z) if index else z)
        return z


def orthogonal(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def agree(found, expected):
    """Compare vectors up to their sign, which is that of the largest entry."""
    cosines = np.sum(found * expected, axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert (np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1) > 0).all()


def test_sefa_finds_the_singular_vectors_of_a_linear_generator():
    game = Game(Layers((64,)))
    left, right, values = orthogonal(64, 0)[:, :4], orthogonal(4, 1), np.array([1.0, 3.0, 0.5, 2.0])
    kernel = (right * values) @ left.T
    dense = {"kernel": kernel.astype(np.float32), "bias": np.ones(64, np.float32)}
    variables = {"generator": {"params": {"Dense_0": dense}}}
    found = directions.sefa(spaces.Latents(game), game, variables, (4,), top=3)
    np.testing.assert_allclose(found.eigenvalues, [9, 4, 1], rtol=1e-4)
    np.testing.assert_allclose(found.share, np.array([9, 4, 1]) / 14.25, rtol=1e-4)
    agree(found.vectors, right.T[[1, 3, 0]])


def test_ganspace_recovers_a_planted_axis_of_latents():
    game = Game(Layers((16, 64)))
    right, left = orthogonal(4, 1), orthogonal(16, 0)
    # One axis that saturates the layer's units, one that hardly moves them, and little of others.
    kernel = (right * [0.1, 3.0, 0.6, 0.1]) @ left[:4]
    variables = {"generator": {"params": {**game.variables["generator"]["params"]}}}
    variables["generator"]["params"]["Dense_0"] = {
        "kernel": kernel.astype(np.float32),
        "bias": np.zeros(16, np.float32),
    }
    z = latents(game, seed=0, num=512)
    found = directions.ganspace(spaces.Latents(game), game, variables, z, top=2)
    assert np.abs(found.vectors @ right)[[0, 1], [1, 2]].min() > 0.97
    assert 0.6 < found.share[0] < 0.99
    # The variances are those of the first layer's activations.
    hidden = np.tanh(z @ kernel)
    expected = np.linalg.eigvalsh(np.cov(hidden.T, bias=True))[::-1]
    np.testing.assert_allclose(found.eigenvalues, expected[:2], rtol=1e-3)
    np.testing.assert_allclose(found.share, expected[:2] / expected.sum(), rtol=1e-3)


def test_ganspace_of_styles_is_their_principal_components():
    game, variables = styled()
    space = spaces.make_space(game)
    axes, deviation = orthogonal(4, 2), np.array([0.5, 2.0, 1.0, 0.1])
    drawn = np.random.default_rng(0).normal(size=(4000, 4)) * deviation
    planted = (7.0 + drawn @ axes.T).astype(np.float32)[:, None]
    found = directions.ganspace(space, game, variables, planted, top=3)
    assert found.vectors.shape == (3, 1, 4)
    cosines = np.abs(found.vectors[:, 0] @ axes)
    assert cosines[[0, 1, 2], [1, 2, 0]].min() > 0.99
    np.testing.assert_allclose(found.eigenvalues, [4, 1, 0.25], rtol=0.1)
    np.testing.assert_allclose(found.share.sum(), 1 - 0.01 / 5.26, atol=1e-3)
    along = directions.deviations(found.vectors, planted)
    np.testing.assert_allclose(along, np.sqrt(found.eigenvalues), rtol=1e-5)


def gram(*kernels):
    return sum(
        np.einsum("kic,kjc->ij", *[x.reshape(-1, *x.shape[-2:])] * 2)
        for x in map(np.asarray, kernels)
    )


def test_sefa_of_styles_stacks_the_affine_maps_of_all_layers():
    game, variables = styled()
    kernels = []

    def collect(tree):
        for name, value in tree.items():
            if name == "affine":
                kernels.append(value["kernel"] * equalized_scale(value["kernel"].shape))
            elif isinstance(value, dict):
                collect(value)

    collect(variables["generator"]["params"]["synthesis"])
    assert len(kernels) == 5
    found = directions.sefa(spaces.make_space(game), game, variables, (1, 4), top=4)
    values, vectors = np.linalg.eigh(gram(*kernels))
    np.testing.assert_allclose(found.eigenvalues, values[::-1], rtol=1e-4)
    agree(found.vectors[:, 0], vectors.T[::-1])


@pytest.mark.parametrize(
    "name",
    [
        *("r3gan", "biggan"),
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("dcgan", "resnet", "progan", "fastgan")
        ),
    ],
)
def test_the_first_layers_of_any_generator_are_found(name):
    _, fields = GENERATOR_FIELDS[name]
    module = make("generator", name, shape=(16, 16, 1), latent_dim=6, **fields)
    game = Game(module, (16, 16, 1), 6)
    found = directions.sefa(spaces.Latents(game), game, game.variables, (6,), top=6)
    # Every entry of a latent enters, in BigGAN by chunks.
    assert found.eigenvalues.min() > 1e-4 * found.eigenvalues.max()
    params = game.variables["generator"]["params"]
    if name in ("dcgan", "r3gan", "resnet"):
        values, vectors = np.linalg.eigh(gram(params["Dense_0"]["kernel"]))
        np.testing.assert_allclose(found.eigenvalues, values[::-1], rtol=1e-3)
        agree(found.vectors[:1], vectors.T[::-1][:1])


def test_points_move_by_steps_along_each_direction():
    given = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
    vectors = np.eye(3, dtype=np.float32)[[2, 0]].reshape(2, 1, 3)
    found = directions.moved(given, vectors, np.array([[0.0, 2.0], [-1.0, 0.0]]))
    assert found.shape == (2, 2, 2, 1, 3)
    np.testing.assert_array_equal(found[0, 1, 1, 0], [3, 4, 7])
    np.testing.assert_array_equal(found[1, 0, :, 0], [[-1, 1, 2], [0, 1, 2]])
    drawn = directions.random_directions(vectors, 0)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=(1, 2)), 1)


def test_what_has_no_directions_is_refused():
    class Painted(nn.Module):
        @nn.compact
        def __call__(self, z, train):
            return z[:, :1] * self.param("scale", nn.initializers.ones, (64,))

    game = Game(Painted())
    space, z = spaces.Latents(game), latents(game, seed=0, num=64)
    with pytest.raises(errors.ConfigError, match="no layer with a kernel is given the latents"):
        directions.sefa(space, game, game.variables, (4,), top=1)
    # Of its data, all of which change along one axis.
    found = directions.ganspace(space, game, game.variables, z, top=1)
    assert found.share[0] > 0.999
    assert abs(found.vectors[0, 0]) > 0.95
    with pytest.raises(errors.ConfigError, match="top = 5; accepted: 1 to 4, the dimensions of a"):
        directions.ganspace(space, game, game.variables, z, top=5)
    with pytest.raises(errors.ConfigError, match="points = 4; accepted: above 4"):
        directions.ganspace(space, game, game.variables, z[:4], top=1)
    assert points(space, game, game.variables, z).shape == (64, 4)
