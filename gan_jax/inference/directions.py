"""Directions in the space of a generator along which its samples change most.

- `sefa` (Shen & Zhou 2020, "Closed-Form Factorization of Latent Semantics in GANs", 2007.06600):
  with A the weights of all layers that a point enters first, stacked, the eigenvectors of A^T A,
  along which the inputs of the rest of the network change most. It needs no samples.
- `ganspace` (Härkönen et al. 2020, "GANSpace: Discovering Interpretable GAN Controls", 2004.02546):
  of styles their principal components; of latents those of the first layer's activations, with the
  latents regressed on the coordinates along them.

A point is a latent or a style (`gan_jax.training.spaces`). The layers that it enters are those with
a kernel whose input is made of the point without weights, whatever the network: a dense layer, a
transposed convolution, the affine maps of all styles, the chunks of BigGAN.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import errors
from gan_jax.device_map import DeviceMap
from gan_jax.games.game import GenerativeGame
from gan_jax.training import sampling
from gan_jax.training.spaces import Space

#: The methods by name.
METHODS = ("sefa", "ganspace")

# (input, output) of a layer.
_Layer = tuple[jax.Array, jax.Array]
# Points by which it is found out what a layer depends on.
_PROBES = 4


@dataclasses.dataclass(frozen=True)
class Directions:
    """Directions, the strongest first.

    Attributes:
      vectors: float32 ``[k, ...]``, of the shape of a point and length 1. The largest entry of each
        is positive.
      eigenvalues: float64 ``[k]``: of A^T A (`sefa`), or variances (`ganspace`).
      share: float64 ``[k]``, of the sum of all eigenvalues.
    """

    vectors: np.ndarray
    eigenvalues: np.ndarray
    share: np.ndarray


def sefa(
    space: Space,
    game: GenerativeGame,
    variables: dict[str, Any],
    shape: Sequence[int],
    label: Any = None,
    *,
    top: int = 5,
) -> Directions:
    """Return the directions that the first layers amplify most.

    Args:
      space: of the points.
      game: what was trained.
      variables: as `gan_jax.training.sampling.Sampler.place` returns them.
      shape: of a point.
      label: any label of the game, where it has labels.
      top: how many directions.

    Raises:
      ConfigError: no layer with a kernel is given the points, or ``top`` does not suit.
    """
    size = int(np.prod(shape))
    _check_top(top, size)
    # Of 0 and the unit vectors: the columns of A are differences of the outputs. It is 0, because
    # there normalization of the latents, too, is linear along every axis.
    points = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *shape)
    labels = None if label is None else np.repeat(np.asarray(label)[None], len(points), axis=0)

    entered = _which(_roles(space, game, variables, shape, label), alone=True)

    @jax.jit
    def columns(variables: Any) -> list[jax.Array]:
        layers = _layers(space, game, variables, points.astype(np.float32), labels)
        return [layers[index][1][1:] - layers[index][1][:1] for index in entered]

    if not entered:
        raise errors.ConfigError(
            "directions = 'sefa', but no layer with a kernel is given the latents; accepted: a "
            "generator whose first layer has a parameter named kernel"
        )
    found = [np.asarray(y, np.float64).reshape(size, -1) for y in columns(variables)]
    stacked = np.concatenate(found, axis=1)
    values, vectors = np.linalg.eigh(stacked @ stacked.T)
    return _strongest(values, vectors.T, top, shape)


def ganspace(
    space: Space,
    game: GenerativeGame,
    variables: dict[str, Any],
    points: np.ndarray,
    label: Any = None,
    *,
    top: int = 5,
    batch_size: int = 64,
) -> Directions:
    """Return the directions along which styles, or activations of latents, vary most.

    Args:
      space: of the points.
      game: what was trained.
      variables: as for `sefa`.
      points: float32 ``[n, ...]``, of random latents, more than dimensions of a point.
      label: of the activations of latents, where the game has labels: their classes would be
        among the components.
      top: how many directions.
      batch_size: points at a time.

    Raises:
      ConfigError: there are too few points, or ``top`` does not suit.
    """
    number, *shape = points.shape
    size = int(np.prod(shape))
    _check_top(top, size)
    errors.require(number > size, "points", number, f"above {size}, the dimensions of a point")
    centred = _centred(points)
    if space.name != "z":
        values, vectors = np.linalg.eigh(centred.T @ centred / number)
        return _strongest(values, vectors.T, top, shape)
    hidden = _centred(_activations(space, game, variables, points, label, batch_size))
    # Of the principal components only the coordinates are needed, which are the eigenvectors of the
    # points' inner products; a component's latent is the regression of the latents on them.
    values, coordinates = np.linalg.eigh(hidden @ hidden.T / number)
    return _strongest(values, coordinates.T @ centred, top, shape)


def deviations(directions: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the standard deviations of points ``[n, ...]`` along ``[k, ...]``, float64 ``[k]``."""
    along = points.reshape(len(points), -1).astype(np.float64)
    return np.std(along @ directions.reshape(len(directions), -1).T, axis=0)


def random_directions(like: np.ndarray, seed: int) -> np.ndarray:
    """Return random directions of the shape of others, to compare these with."""
    drawn = np.random.default_rng(seed).normal(size=(len(like), like[0].size))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).reshape(like.shape)


def moved(points: np.ndarray, directions: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return points moved along directions.

    Args:
      points: ``[n, ...]``.
      directions: ``[k, ...]``.
      steps: lengths, ``[k, m]``.

    Returns:
      float32 ``[k, n, m, ...]``.
    """
    flat = directions.reshape(len(directions), 1, 1, -1)
    found = points.reshape(1, len(points), 1, -1) + steps[:, None, :, None] * flat
    return found.astype(np.float32).reshape(*found.shape[:3], *points.shape[1:])


def _check_top(top: int, size: int) -> None:
    errors.require(1 <= top <= size, "top", top, f"1 to {size}, the dimensions of a point")


def _centred(rows: np.ndarray) -> np.ndarray:
    """Return rows as vectors, float64, less their mean."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return flat - flat.mean(0)


def _strongest(
    values: np.ndarray, vectors: np.ndarray, top: int, shape: Sequence[int]
) -> Directions:
    """Return the vectors of the largest eigenvalues, which ascend."""
    chosen = vectors[::-1][:top]
    chosen = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(1)[:, None], 1)
    signed = (chosen * np.sign(largest)).astype(np.float32)
    values = np.maximum(values, 0.0)
    kept = values[::-1][:top]
    return Directions(signed.reshape(top, *shape), kept, kept / max(values.sum(), 1e-300))


def _layers(
    space: Space, game: GenerativeGame, variables: Any, points: Any, labels: Any
) -> list[_Layer]:
    """Return the input and the output of every layer that has a kernel, in order, under `jit`."""
    found: list[_Layer] = []

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        made = call(*args, **kwargs)
        if context.method_name == "__call__" and context.module.has_variable("params", "kernel"):
            found.append((args[0], made))
        return made

    with nn.intercept_methods(record):
        space.sample(variables, points, sampling.condition_of(game, labels))
    return found


def _perturbed(variables: dict[str, Any]) -> dict[str, Any]:
    """Return the variables with other parameters."""

    def other(x: Any) -> jax.Array:
        drawn = np.random.default_rng(0).normal(size=np.shape(x))
        return jnp.asarray(x + drawn.astype(np.float32))

    return {
        name: {**own, "params": jax.tree.map(other, own["params"])} if "params" in own else own
        for name, own in variables.items()
    }


def _roles(
    space: Space, game: GenerativeGame, variables: dict[str, Any], shape: Sequence[int], label: Any
) -> list[bool | None]:
    """Return for each of `_layers` whether its input depends on the point alone, without weights.

    It is ``None`` where the input does not depend on the point.
    """
    points = np.random.default_rng(0).normal(size=(_PROBES, *shape)).astype(np.float32)
    labels = None if label is None else np.repeat(np.asarray(label)[None], _PROBES, axis=0)

    @jax.jit
    def inputs(variables: Any) -> list[jax.Array]:
        layers = _layers(space, game, variables, points, labels)
        # Differences between points, in which the class has no part.
        return [(x[1:] - x[:1]).astype(jnp.float32) for x, _ in layers]

    found, others = inputs(variables), inputs(_perturbed(variables))
    return [
        bool(np.allclose(x, other, rtol=1e-3, atol=1e-5)) if np.any(x) else None
        for x, other in zip(found, others, strict=True)
    ]


def _which(roles: Sequence[bool | None], *, alone: bool) -> list[int]:
    return [index for index, role in enumerate(roles) if role is alone]


def _activations(
    space: Space,
    game: GenerativeGame,
    variables: dict[str, Any],
    points: np.ndarray,
    label: Any,
    batch_size: int,
) -> np.ndarray:
    """Return what the first layers make of points, ``[n, ...]``: the input of the next one.

    Of a generator without a next one they are its data.
    """
    later = _which(_roles(space, game, variables, points.shape[1:], label), alone=False)

    def share(variables: Any, points: jax.Array, labels: Any) -> jax.Array:
        if not later:
            return space.sample(variables, points, sampling.condition_of(game, labels))
        return _layers(space, game, variables, points, labels)[later[0]][0]

    labels = None if label is None else np.repeat(np.asarray(label)[None], len(points), axis=0)
    mapped = DeviceMap(share, batch_size=min(batch_size, len(points)))
    found: np.ndarray = mapped.on_host(mapped.place(variables), points, labels)
    return found
