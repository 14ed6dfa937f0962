"""Projection: the latent, or the styles, whose sample comes closest to a given image.

The latent is optimised by gradient descent through the generator (Creswell & Bharath 2016,
"Inverting the Generator of a Generative Adversarial Network", 1611.05644; Lipton & Tripathi 2017,
1702.04782), from several starts, because the loss has local minima. The starts are, for each image,
the nearest of many random samples. Of styles (Karras 2019, 1912.04958, appendix D; one for each
layer: Abdal 2019, 1904.03189) the first start is their mean, and there is no noise.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax import errors
from gan_jax.data import device
from gan_jax.data.sources import Transform
from gan_jax.data.sources.images import decode, reason
from gan_jax.data.sources.levels import Levels
from gan_jax.games import draws
from gan_jax.games.game import GenerativeGame
from gan_jax.inference import image_files, rendering
from gan_jax.metrics import similarity
from gan_jax.report.bar import Advance
from gan_jax.training import sampling, spaces
from gan_jax.training.spaces import Space


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an image is projected.

    Attributes:
      steps: of Adam.
      restarts: starts per image, all optimised in one batch; the best is kept.
      learning_rate: at the beginning; it falls to zero along a half cosine. Its unit is the
        root mean square of the distance of points from their mean, per dimension.
      prior: weight of ``(mean(z^2) - 1)^2``, which is zero where the norm of ``z`` is the root of
        its size: there lie nearly all normal latents, and with them all that was trained. Of styles
        ``z`` is their distance from the mean in the unit of the learning rate, and only distances
        above 1 count.
      candidates: random samples that the starts are chosen from, at least ``restarts``.
      space: one of `gan_jax.training.spaces.SPACES`; unset: ``w`` for a generator with styles,
        else ``z``.
    """

    steps: int = 500
    restarts: int = 4
    learning_rate: float = 0.1
    prior: float = 0.01
    candidates: int = 256
    space: str | None = None

    def __post_init__(self):
        for name in ("steps", "restarts", "candidates"):
            if getattr(self, name) < 1:
                raise errors.ConfigError(f"{name} = {getattr(self, name)}; accepted: 1 or more")
        if not self.learning_rate > 0:
            raise errors.ConfigError(f"learning_rate = {self.learning_rate}; accepted: above 0")
        if not self.prior >= 0:
            raise errors.ConfigError(f"prior = {self.prior}; accepted: 0 or more")


@dataclasses.dataclass(frozen=True)
class Projection:
    """The best points found.

    Attributes:
      points: float32 ``[n, latent_dim]`` of ``z``; of ``w`` ``[n, 1, style_dim]``, and of ``w+``
        ``[n, layers, style_dim]``.
      label: as the data have them, ``[n, ...]``; ``None`` where the game has no labels, and of
        styles, which alone determine a sample.
      image: samples of these, uint8 ``[n, height, width, channels]``.
      psnr: of these against the originals, in decibels, float32 ``[n]``.
    """

    points: np.ndarray
    label: np.ndarray | None
    image: np.ndarray
    psnr: np.ndarray


def project(
    game: GenerativeGame,
    variables: dict[str, Any],
    images: np.ndarray,
    settings: Settings | None = None,
    *,
    seed: int = 0,
    label: int | str | None = None,
    batch_size: int = 64,
    advance: Advance = lambda done: None,
) -> Projection:
    """Return the latents or styles whose samples come closest to images.

    The loss of one point is the mean squared difference of the pixels in [-1, 1], plus the prior
    of `Settings`. The result for an image does not depend on the others.

    Args:
      game: what was trained; it samples with running or standing statistics.
      variables: as `gan_jax.training.sampling.Sampler.place` returns them.
      images: uint8 ``[n, *game.shape]``.
      settings: how.
      seed: of the candidates.
      label: the class of all images, or what is asked of their attributes; ``None``: that of each
        start: the candidates go through all classes, or through vectors of attributes. Of styles it
        is the class of the candidates.
      batch_size: points at a time, rounded up to a multiple of the restarts.
      advance: called with the number of images done.

    Raises:
      ConfigError: the images do not have the shape of samples, or the game has no such space.
    """
    settings = settings or Settings()
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != game.shape or not len(images):
        raise errors.ConfigError(
            f"images to project are {images.dtype}{list(images.shape)}; accepted: uint8 "
            f"[n, {', '.join(map(str, game.shape))}], one or more"
        )
    space = spaces.make_space(game, settings.space)
    starts = _Starts(game, space, variables, settings, seed, label, batch_size)
    descend = _descent(game, space, variables, settings, starts.mean, starts.scale)
    at_once = -(-batch_size // settings.restarts)
    done: list[tuple[Any, ...]] = []
    for first in range(0, len(images), at_once):
        # The last part is filled up with its own images, so that one shape is compiled.
        count = min(at_once, len(images) - first)
        part = images[first + np.arange(min(at_once, len(images))) % count]
        points, labels = starts(part)
        points, found = descend(points, labels, part)
        best = np.argmin(found.reshape(-1, settings.restarts), axis=1)
        rows = (np.arange(len(part)) * settings.restarts + best)[:count]
        done.append((points[rows], None if labels is None else labels[rows]))
        advance(first + count)
    points = np.concatenate([one[0] for one in done])
    labels = None if done[0][1] is None else np.concatenate([one[1] for one in done])
    made = _samples(game, space, variables, points, labels, batch_size)
    psnr = np.asarray(similarity.psnr(made, images))
    return Projection(points, labels, made, psnr)


class _Starts:
    """Chooses the starts of each image among candidates.

    Attributes:
      mean: of the points of the space, ``[...]``; 0 of latents.
      scale: the root mean square of their distance from it, per dimension; 1 of latents.
    """

    def __init__(
        self,
        game: GenerativeGame,
        space: Space,
        variables: dict[str, Any],
        settings: Settings,
        seed: int,
        label: int | str | None,
        batch_size: int,
    ) -> None:
        self._restarts = settings.restarts
        count = max(settings.candidates, settings.restarts)
        key = draws.named(jax.random.key(np.uint32(seed)), "projection")
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count, dtype=jnp.uint32))
        z, labels = np.asarray(game.latents(keys)), sampling.first_labels(game, count, label)
        self._points = rendering.points(space, game, variables, z, labels)
        self._styled = space.name != "z"
        self._labels = None if self._styled else labels
        self.mean, self.scale = np.zeros((), np.float32), 1.0
        if self._styled:
            self.mean = self._points.mean(0)
            self.scale = float(np.sqrt(np.square(self._points - self.mean).mean()))
            self._points[0] = self.mean
        made = _samples(game, space, variables, self._points, self._labels, batch_size)
        self._candidates = made.reshape(count, -1).astype(np.float64)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return ``restarts`` points of each image, and their labels, image by image."""
        chosen = []
        for image in images.reshape(len(images), -1).astype(np.float64):
            error = np.square(self._candidates - image).sum(1)
            if self._styled:
                error[0] = 0.0  # The mean style is a start of every image.
            chosen.append(np.argsort(error, kind="stable")[: self._restarts])
        rows = np.concatenate(chosen)
        return self._points[rows], None if self._labels is None else self._labels[rows]


# (points [n * restarts, ...], labels [n * restarts] or None, images uint8 [n, ...]) -> the best
# points on the way from these to the images, and their losses.
_Descend = Callable[[np.ndarray, np.ndarray | None, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _descent(
    game: GenerativeGame,
    space: Space,
    variables: dict[str, Any],
    settings: Settings,
    mean: np.ndarray,
    scale: float,
) -> _Descend:
    """Return what runs Adam on a batch of points, each by itself, in units of ``scale``."""
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
    optimizer = optax.adam(schedule)

    def losses(z: jax.Array, labels: Any, targets: jax.Array, variables: Any) -> jax.Array:
        condition = sampling.condition_of(game, labels)
        made = space.sample(variables, jnp.asarray(mean) + scale * z, condition).astype(jnp.float32)
        error = jnp.square(made - targets).mean(tuple(range(1, made.ndim)))
        excess = jnp.square(z).mean(tuple(range(1, z.ndim))) - 1.0
        if space.name != "z":
            # The mean style and those near it have images as good as the others'.
            excess = jnp.maximum(excess, 0.0)
        return error + settings.prior * jnp.square(excess)

    def total(*args: Any) -> tuple[jax.Array, jax.Array]:
        each = losses(*args)
        # The sum, not the mean: a point's gradient is its own loss's.
        return each.sum(), each

    def better(best: Any, z: jax.Array, each: jax.Array) -> Any:
        improved = each < best[1]
        kept = jnp.where(improved.reshape(-1, *(1,) * (z.ndim - 1)), z, best[0])
        return kept, jnp.where(improved, each, best[1])

    @jax.jit
    def step(z: jax.Array, adam: Any, best: Any, *rest: Any) -> Any:
        slope, each = jax.grad(total, has_aux=True)(z, *rest)
        updates, adam = optimizer.update(slope, adam)
        return z + updates, adam, better(best, z, each)

    @jax.jit
    def last(z: jax.Array, best: Any, *rest: Any) -> Any:
        return better(best, z, losses(z, *rest))

    def descend(
        starts: np.ndarray, labels: np.ndarray | None, images: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        targets = device.to_float(jnp.asarray(np.repeat(images, settings.restarts, axis=0)))
        z = jnp.asarray((starts - mean) / scale)
        best = (z, jnp.full(len(z), jnp.inf, jnp.float32))
        adam = optimizer.init(z)
        rest = (None if labels is None else jnp.asarray(labels), targets, variables)
        # A loop of steps, not `lax.scan`: XLA's convolutions in loops are slow on CPU.
        for _ in range(settings.steps):
            z, adam, best = step(z, adam, best, *rest)
        z, losses = last(z, best, *rest)
        return mean + scale * np.asarray(z), np.asarray(losses)

    return descend


def _samples(
    game: GenerativeGame,
    space: Space,
    variables: dict[str, Any],
    points: np.ndarray,
    labels: Any,
    batch_size: int,
) -> np.ndarray:
    size = min(batch_size, len(points))
    return rendering.Renderer(game, variables, batch_size=size, space=space)(points, labels)


def read_images(
    path: str | Path,
    shape: tuple[int, ...],
    resize: str = "resize",
    levels: Levels | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Return the images at a path as a run's data are, uint8 ``[n, *shape]``, and their names.

    Args:
      path: an image, or a folder or zip of images.
      shape: of the run's data, ``(height, width, channels)``.
      resize: as ``config.data.resize``.
      levels: of the run's data.

    Raises:
      DataError: there are none, or one cannot be read or brought to this shape.
    """
    height, width, channels = shape
    transform = Transform((height, width), channels, resize)
    images, names = [], []
    for file in image_files.find(path, "--project"):
        try:
            image = transform(decode(file.read(), levels, alpha=channels == 4))
        except errors.DataError as error:
            raise errors.DataError(f"{file.full_name} {error}") from error
        # Pillow's decoders raise many kinds of errors about damaged files.
        except Exception as error:
            raise errors.DataError(f"{file.full_name} {reason(error)}") from error
        images.append(image)
        names.append(Path(file.name).name)
    return np.stack(images), names
