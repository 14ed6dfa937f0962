"""Samples of given latents or styles: in several classes, on a path, at several truncations.

`gan_jax.training.sampling` makes samples by number. `latents` returns the latents of these numbers,
and `points` the points of a space that they are mapped to.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.device_map import DeviceMap
from gan_jax.games.game import GenerativeGame
from gan_jax.training import sampling
from gan_jax.training.spaces import Latents, Space

#: Rows of classes in one picture, at most.
MOST_CLASSES = 20
#: Rows of captions in one picture, unless one is asked for.
SHOWN_CAPTIONS = 8


def latents(game: GenerativeGame, *, seed: int, num: int) -> np.ndarray:
    """Return the latents of the first ``num`` samples of a seed, float32 ``[num, latent_dim]``.

    They are those that `gan_jax.training.sampling.Sampler` draws.
    """
    numbers = jnp.asarray(sampling.seed_and_numbers(seed, 0, num))
    return np.asarray(game.latents(sampling.numbered_keys(numbers, "sample")))


def points(
    space: Space,
    game: GenerativeGame,
    variables: dict[str, Any],
    z: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    batch_size: int = 1024,
) -> np.ndarray:
    """Return the points of a space that latents are mapped to, on the first device.

    Args:
      space: of the game.
      game: what was trained.
      variables: as for `Renderer`.
      z: float32 ``[n, latent_dim]``.
      labels: as the data have them, ``[n, ...]``, where the game has any.
      batch_size: latents at a time.

    Returns:
      float32 ``[n, ...]``, as `gan_jax.training.spaces` describes points.
    """

    def share(variables: Any, z: jax.Array, labels: Any) -> jax.Array:
        return space.points(variables, z, sampling.condition_of(game, labels))

    mapped = DeviceMap(share, batch_size=min(batch_size, len(z)))
    found: np.ndarray = mapped.on_host(mapped.place(variables), np.asarray(z, np.float32), labels)
    return found


def shown_labels(game: GenerativeGame, label: int | str | None = None) -> list[Any]:
    """Return the labels that a picture has rows of.

    They are ``[None]`` for a game without labels; otherwise ``label`` if it is given, or all
    classes; of more than `MOST_CLASSES` that number, evenly spread, with the first and the last. Of
    attributes it is one vector, that of the first sample; of captions there are `SHOWN_CAPTIONS`.
    """
    if (field := game.attributes) is not None:
        if field.kind == "caption" and label is None:
            return list(map(tuple, sampling.shown_captions(field, SHOWN_CAPTIONS).tolist()))
        assert not isinstance(label, int)
        class_of = sampling.in_turn(game, label)
        assert class_of is not None
        return [tuple(class_of(np.zeros(1, np.uint32))[0].tolist())]
    if label is not None or game.num_classes is None:
        return [label]
    if game.num_classes <= MOST_CLASSES:
        return list(range(game.num_classes))
    spread = np.linspace(0, game.num_classes - 1, MOST_CLASSES)
    return [int(k) for k in np.rint(spread)]


class Renderer:
    """Makes pictures of given latents, or points of another space, on the first device.

    Args:
      game: what was trained.
      variables: as `gan_jax.training.sampling.Sampler.place` returns them.
      batch_size: pictures made at a time.
      train: normalise with the statistics of each batch, which makes a picture depend on the others
        of its batch.
      truncation: as `gan_jax.games.game.GenerativeGame.sample`'s.
      space: of the points that pictures are made of; ``None``: they are latents.
    """

    def __init__(
        self,
        game: GenerativeGame,
        variables: dict[str, Any],
        *,
        batch_size: int = 64,
        train: bool = False,
        truncation: float | None = None,
        space: Space | None = None,
    ) -> None:
        self._truncation = truncation
        made_of = space or Latents(game)
        kind = kinds.of(specs.data_field(game.spec))

        def share(shared: tuple[Any, Any], z: jax.Array, labels: Any) -> jax.Array:
            variables, truncation = shared
            condition = sampling.condition_of(game, labels)
            data = made_of.sample(variables, z, condition, truncation=truncation, train=train)
            return kind.to_stored(data)

        self._render = DeviceMap(share, batch_size=batch_size)
        self._variables = self._render.place(variables)

    def __call__(
        self,
        z: np.ndarray,
        labels: np.ndarray | None = None,
        truncation: float | None = None,
    ) -> np.ndarray:
        """Return the pictures on the host.

        Args:
          z: float32 ``[n, latent_dim]``, or points of the space.
          labels: as the data have them, ``[n, ...]``, where the game has any.
          truncation: in place of the renderer's.

        Returns:
          ``[n, *shape]``, as the source stores such data: images are uint8.
        """
        truncation = self._truncation if truncation is None else truncation
        limit = None if truncation is None else np.float32(truncation)
        return self._render.on_host((self._variables, limit), np.asarray(z, np.float32), labels)

    def rows(self, z: np.ndarray, labels: Sequence[Any]) -> np.ndarray:
        """Return pictures of the same latents with each of several labels, ``[labels, n, ...]``.

        Args:
          z: float32 ``[n, latent_dim]``.
          labels: as `shown_labels` returns them.
        """
        every = np.tile(z, (len(labels), 1))
        repeated = None
        if labels[0] is not None:
            repeated = np.repeat(np.asarray(labels), len(z), axis=0)
        data = self(every, repeated)
        return data.reshape(len(labels), len(z), *data.shape[1:])
