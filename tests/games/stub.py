"""Networks that are understood at a glance, and a turn to play with them without a train step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax.data.sources.draws import random_arrays
from gan_jax.data.spec import data_name
from gan_jax.errors import ConfigError
from gan_jax.games import draws
from gan_jax.games.game import Turn
from gan_jax.games.registry import make_game
from gan_jax.networks.verdict import Verdict
from tests.training.tiny import spec_of


class Affine(nn.Module):
    """Translates images to ``slope * image + offset``, and adds noise where it is given keys."""

    slope: float = 1.0
    offset: float = 0.0
    noise: float = 0.0
    outputs: int | None = None
    factor: int = 1
    multiple: int = 1

    @nn.compact
    def __call__(self, x, condition=None, *, keys=None, train=True):
        slope = self.param("slope", nn.initializers.constant(self.slope), ())
        offset = self.param("offset", nn.initializers.constant(self.offset), ())
        y = slope * x[..., : self.outputs] + offset
        if keys is not None and self.noise:
            y = y + self.noise * jax.vmap(lambda key: jax.random.normal(key, y.shape[1:]))(keys)
        return y.repeat(self.factor, axis=1).repeat(self.factor, axis=2)


class Patches(nn.Module):
    """Scores every 2x2 patch by its mean in each channel, weighted, plus a number.

    Made by a configuration, it weighs the channels of its ``shape`` 1, 2, 3, ...
    """

    weights: tuple[float, ...] = ()
    bias: float = 0.0
    shape: tuple[int, ...] = ()

    def __call__(self, x, condition=None, *, keys=None, train=True):
        return self.judge(x).scores

    @nn.compact
    def judge(self, x, condition=None, *, keys=None, train=True):
        chosen = self.weights or tuple(range(1, self.shape[-1] + 1))
        weights = self.param("weights", lambda key: jnp.asarray(chosen, jnp.float32))
        bias = self.param("bias", nn.initializers.constant(self.bias), ())
        means = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).mean((2, 4))
        return Verdict((means * weights).sum(-1) + bias, (x, means), {})


def scores(x, weights, bias=0.0):
    """Return what `Patches` says of images, in NumPy."""
    means = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).mean((2, 4))
    return means @ np.asarray(weights) + bias


def images(shape, seed=0):
    """Return random images in [-1, 1], float32."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def fields(game, images):
    """Return images by field: ``a`` and ``b`` are the halves of the channels."""
    if "a" not in game.spec:
        return {"image": jnp.asarray(images)}
    return dict(zip("ab", jnp.split(jnp.asarray(images), 2, axis=-1), strict=True))


def turn(game, batch, count=0, memory=None):
    """Return a turn of a game, its networks freshly made.

    Args:
      game: any.
      batch: by field; or images, see `fields`.
      count: the player's steps so far.
      memory: that of the game; ``None``: as it is at the start.
    """

    @jax.jit
    def init(key):
        return {n: network.init(draws.named(key, n)) for n, network in game.networks.items()}

    return Turn(
        variables=init(jax.random.key(0)),
        batch=batch if isinstance(batch, dict) else fields(game, batch),
        key=jax.random.key(3),
        count=jnp.asarray(count, jnp.int32),
        axis_name=None,
        memory=dict(game.memory) if memory is None else memory,
    )


def begin(config, shape=(2,), classes=8, batch=16, count=0, label=None):
    """Return a configuration's game for one device, and a turn on random data of a shape.

    With ``label``, a field of captions, the labels are random tokens.
    """
    spec = spec_of(shape, classes)
    if label is not None:
        spec = {**spec, "label": label}
    game = make_game(config, spec, None)
    arrays = {data_name(spec): images((batch, *shape))}
    if label is not None:
        arrays["label"] = random_arrays({"label": label}, batch)["label"]
    elif classes:
        arrays["label"] = np.random.default_rng(1).integers(0, classes, batch, np.int32)
    return game, turn(game, jax.tree.map(jnp.asarray, arrays), count)


def owned(game, name, moment):
    """Return a player by its name, and the parameters of its networks."""
    (player,) = (player for player in game.players if player.name == name)
    return player, {own: moment.variables[own]["params"] for own in player.networks}


def play(game, name, moment):
    """Return a player's loss, its gradient by the player's networks, and its outcome."""
    player, params = owned(game, name, moment)

    @jax.jit
    def compute(params):
        seen = player.prepared(moment)
        (value, outcome), gradient = jax.value_and_grad(player.loss, has_aux=True)(params, seen)
        return value, gradient, outcome

    return compute(params)


def loss(game, name, moment):
    """Return a player's loss and its outcome: quicker to compile than the gradient."""
    player, params = owned(game, name, moment)
    return jax.jit(lambda params: player.loss(params, player.prepared(moment)))(params)


def generated(game, moment):
    """Return the fakes of a turn of an adversarial game."""
    z = game.latents(moment.keys("latent"))
    return game.sample(moment.variables, z, moment.condition, train=True)


def verdict(game, moment, data, condition=None):
    """Return what the discriminator says of data."""
    return game.discriminator.apply(
        moment.variables["discriminator"], data, condition, train=True, method="judge"
    )


def refusal(config, spec):
    """Return the message with which a game's configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        make_game(config, spec, None)
    return str(caught.value)
