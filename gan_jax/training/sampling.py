"""Samples from a trained state: a pure function of weights, seed and index, on any devices.

How a generator's batch normalisation gets its statistics when it samples changes the samples, and
their FID, a lot; `BATCH_NORM` lists the ways, and every record of a metric names the one used:

- ``ema``: the moving average of the running statistics, beside the moving average of the weights;
- ``running``: the running statistics of the raw weights, as they stand;
- ``standing``: those of many batches, computed anew for the weights that sample (BigGAN, Brock
  2019, 1809.11096, "standing statistics");
- ``batch``: those of the batch that is sampled, which makes a sample depend on its neighbours.

All four are the same for a generator without batch statistics, and the first two where no moving
average is kept.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import errors
from gan_jax.data import attributes, kinds
from gan_jax.data import spec as specs
from gan_jax.data.sources.base import content_hash
from gan_jax.data.spec import LABEL
from gan_jax.device_map import DeviceMap
from gan_jax.games import draws
from gan_jax.games.game import GenerativeGame
from gan_jax.layers.normalization import with_moments
from gan_jax.networks.condition import Condition
from gan_jax.training.state import TrainState

BATCH_NORM = ("ema", "running", "standing", "batch")
Variables = dict[str, Any]
# Numbers of samples, uint32 [n], to their classes, int32 [n], attributes, float32 [n, k], or
# captions, int32 [n, k].
ClassOf = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How samples are made.

    Attributes:
      batch_norm: one of `BATCH_NORM`.
      standing_images: images whose statistics ``standing`` takes, rounded up to whole batches.
      raw: use the raw weights, because no moving average is kept or in place of it.
      truncation: as `gan_jax.games.game.GenerativeGame.sample`'s; ``None``: there is none.
    """

    batch_norm: str = "ema"
    standing_images: int = 4096
    raw: bool = False
    truncation: float | None = None

    def __post_init__(self):
        errors.lookup(dict.fromkeys(BATCH_NORM), self.batch_norm, "sample.batch_norm")
        images, limit = self.standing_images, self.truncation
        errors.require(images >= 1, "sample.standing_images", images, "1 or more")
        truncates = limit is None or limit >= 0
        errors.require(truncates, "sample.truncation", limit, "0 or more, or none")


def seed_and_numbers(seed: int, first: int, count: int) -> np.ndarray:
    """Return the seed and the number of each of ``count`` examples, uint32 ``[count, 2]``."""
    numbers = np.full((count, 2), seed, np.uint32)
    numbers[:, 1] = (first + np.arange(count)) % 2**32
    return numbers


def numbered_keys(numbers: jax.Array, use: str) -> jax.Array:
    """Return the key of each example for one use, given `seed_and_numbers`."""
    key = draws.named(jax.random.key(numbers[0, 0]), use)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers[:, 1])


@dataclasses.dataclass(frozen=True)
class InTurn:
    """The class of sample ``i`` is ``i`` modulo the number of classes."""

    classes: int

    def __call__(self, numbers: Any) -> Any:
        """Return the classes of samples with these numbers, uint32 to int32 ``[n]``."""
        return (numbers % np.uint32(self.classes)).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class InProportion:
    """The classes of the first samples, of however many, are in proportion to ``counts``.

    Sample ``i`` is at the fractional part of ``i`` times the golden ratio, of which every part of
    the unit interval gets its share: multiplication modulo 2^32 is exact.
    """

    counts: tuple[int, ...]

    @property
    def record(self) -> Any:
        """What a record says of them, JSON-able."""
        return list(self.counts)

    def __call__(self, numbers: Any) -> Any:
        """Return the classes of samples with these numbers, uint32 to int32 ``[n]``."""
        bounds = np.cumsum(self.counts)[:-1] / sum(self.counts)
        place = numbers * np.uint32(2654435769)
        ends = np.rint(bounds * 2**32).clip(0, 2**32 - 1).astype(np.uint32)
        return (place[:, None] >= ends).sum(axis=1, dtype=np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Vectors:
    """The attributes or the caption of sample ``i`` are row ``i``, modulo the number of rows."""

    rows: np.ndarray

    @property
    def record(self) -> Any:
        """What a record says of them, JSON-able."""
        return f"{len(self.rows)} vectors {content_hash([self.rows.tobytes()])}"

    def __call__(self, numbers: Any) -> Any:
        """Return the rows of samples with these numbers, uint32 ``[n]``."""
        return jnp.take(jnp.asarray(self.rows), numbers % np.uint32(len(self.rows)), axis=0)


def in_turn(game: GenerativeGame, label: str | None = None) -> ClassOf | None:
    """Return the labels of samples that go through all classes, vectors of attributes or captions.

    ``label`` is what is asked of the latter, see `gan_jax.data.attributes.asked`. The result is
    ``None`` where the game has no labels.
    """
    if (field := game.attributes) is not None:
        rows = field.vectors if label is None else attributes.asked(field, label)
        return Vectors(np.asarray(rows, field.dtype))
    return None if game.num_classes is None else InTurn(game.num_classes)


def shown_captions(field: specs.Field, count: int) -> np.ndarray:
    """Return captions of a field that pictures have rows of, int32 ``[count, length]`` at most."""
    rows = np.asarray(field.vectors, field.dtype)
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]


def first_labels(
    game: GenerativeGame, num: int, label: int | str | None = None
) -> np.ndarray | None:
    """Return the labels of the first ``num`` samples: of one class, or as `in_turn`."""
    if isinstance(label, int):
        return np.full(num, label, np.int32)
    class_of = in_turn(game, label)
    return None if class_of is None else np.asarray(class_of(np.arange(num, dtype=np.uint32)))


def condition_of(game: GenerativeGame, labels: Any) -> Condition:
    """Return what networks see of labels, as the data have them; ``None`` of ``None``."""
    if labels is None:
        return None
    field = game.attributes
    return {LABEL: labels if field is None else kinds.of(field).to_network(labels)}


class Sampler:
    """Makes batches of samples, split over devices.

    Args:
      game: what was trained.
      seed: of the latents; a latent depends on the seed and on its sample's number alone.
      batch_size: samples made at a time, rounded up to a multiple of the devices.
      sampling: how.
      devices: over which a batch is split; all processes call alike.
      class_shares: for a game with classes: the share of each in the samples; ``None``: equal ones.
      label: for a game with classes: the one class asked for, instead.
      class_of: for a game with labels: that of a sample by its number, instead.

    Attributes:
      batch_size: as rounded.
    """

    def __init__(
        self,
        game: GenerativeGame,
        *,
        seed: int,
        batch_size: int,
        sampling: Sampling | None = None,
        devices: Sequence[jax.Device] | None = None,
        class_shares: np.ndarray | None = None,
        label: int | None = None,
        class_of: ClassOf | None = None,
    ) -> None:
        self._game = game
        self._seed = seed
        self._sampling = sampling or Sampling()
        self._class_of = class_of
        self._logits = None
        if game.num_classes is not None:
            shares = np.ones(game.num_classes) if class_shares is None else class_shares
            if label is not None:
                shares = np.eye(game.num_classes)[label]
            with np.errstate(divide="ignore"):
                self._logits = jnp.asarray(np.log(shares), jnp.float32)
        how: dict[str, Any] = {"batch_size": batch_size, "devices": devices}
        self._sample = DeviceMap(self._sample_share, **how)
        self._latents = DeviceMap(lambda _, numbers: self._draw(numbers, "sample")[1:], **how)
        # The networks average moments over the devices themselves.
        self._moments = DeviceMap(self._share_moments, **how, gather=False)
        self.batch_size = self._sample.batch_size

    def place(self, variables: Mapping[str, Variables]) -> dict[str, Variables]:
        """Return variables as `batch` takes them: on every device, with ``standing`` statistics."""
        placed = self._sample.place(dict(variables))
        return self._standing(placed) if self._sampling.batch_norm == "standing" else placed

    def batch(
        self, variables: dict[str, Variables], first: int, seed: int | None = None
    ) -> jax.Array:
        """Return samples ``first`` to ``first + batch_size``, on every device.

        Args:
          variables: as `place` returns them.
          first: number of the first sample.
          seed: of the latents, in place of the sampler's.

        Returns:
          ``[batch_size, *shape]`` in the stored dtype: images are uint8.
        """
        return self._sample(variables, self._numbers(first, seed))

    def latents(self, first: int, seed: int | None = None) -> tuple[jax.Array, jax.Array | None]:
        """Return what `batch`, with the same arguments, makes its samples from.

        Returns:
          Latents, float32 ``[batch_size, latent_dim]``, and labels ``[batch_size, ...]`` as the
          data have them, or ``None`` where the game has none.
        """
        found: tuple[jax.Array, jax.Array | None] = self._latents((), self._numbers(first, seed))
        return found

    @property
    def spec(self) -> specs.Spec:
        """The specification of the game's data, which samples are like."""
        return self._game.spec

    def samples(
        self, variables: dict[str, Variables], num: int, seed: int | None = None
    ) -> np.ndarray:
        """Return the first ``num`` samples on the host; see `batch` for ``seed`` and dtypes."""
        batches = []
        for first in range(0, num, self.batch_size):
            # The last batch is made whole as well, so that one shape is compiled.
            data = jax.device_get(self.batch(variables, first, seed))
            batches.append(data[: num - first])
        return np.concatenate(batches)

    def _numbers(self, first: int, seed: int | None = None) -> np.ndarray:
        return seed_and_numbers(self._seed if seed is None else seed, first, self.batch_size)

    def _standing(self, variables: dict[str, Variables]) -> dict[str, Variables]:
        """Return ``variables`` with the statistics of many batches."""
        count = -(-self._sampling.standing_images // self.batch_size)
        total: Any = None
        for i in range(count):
            moments = self._moments(variables, self._numbers(i * self.batch_size))
            total = moments if total is None else jax.tree.map(jnp.add, total, moments)
        mean = jax.tree.map(lambda x: x / count, total)
        return {
            name: {**own, "batch_stats": with_moments(own["batch_stats"], mean[name])}
            if mean.get(name) and "batch_stats" in own
            else own
            for name, own in variables.items()
        }

    def _draw(self, numbers: jax.Array, use: str) -> tuple[jax.Array, jax.Array, Any]:
        """Return keys, latents and labels of samples for one use."""
        keys = numbered_keys(numbers, use)
        z = self._game.latents(keys)
        if self._class_of is not None:
            return keys, z, self._class_of(numbers[:, 1])
        if (logits := self._logits) is None:
            return keys, z, None
        label_keys = jax.vmap(lambda key: draws.named(key, "label"))(keys)
        labels = jax.vmap(lambda key: jax.random.categorical(key, logits))(label_keys)
        return keys, z, labels.astype(jnp.int32)

    def _arguments(self, numbers: jax.Array, use: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the game's methods take beside the variables, for `_draw`'s arguments."""
        keys, z, labels = self._draw(numbers, use)
        noise = jax.vmap(lambda key: draws.named(key, "generator"))(keys)
        return (z, condition_of(self._game, labels)), {
            "keys": noise,
            "truncation": self._sampling.truncation,
        }

    def _sample_share(self, variables: dict[str, Variables], numbers: jax.Array) -> jax.Array:
        inputs, how = self._arguments(numbers, "sample")
        train = self._sampling.batch_norm == "batch"
        data = self._game.sample(variables, *inputs, **how, train=train)
        return kinds.of(specs.data_field(self.spec)).to_stored(data)

    def _share_moments(self, variables: dict[str, Variables], numbers: jax.Array) -> Any:
        # Other latents than those of the samples.
        inputs, how = self._arguments(numbers, "standing")
        return self._game.sample_moments(variables, *inputs, **how)


def chosen_variables(state: TrainState, how: Sampling) -> dict[str, Variables]:
    """Return the variables of a state that samples are made with: averaged or raw.

    Args:
      state: a trained state.
      how: ``raw`` selects the raw weights; ``batch_norm = "running"`` the raw batch statistics.
    """
    chosen = {}
    for name, network in state.networks.items():
        chosen[name] = network.variables if how.raw else network.averaged
        if how.batch_norm == "running" and "batch_stats" in network.mutable:
            chosen[name] = {**chosen[name], "batch_stats": network.mutable["batch_stats"]}
    return chosen


def make_sampling(config: Any, *, raw: bool = False) -> Sampling:
    """Return how a configuration makes its samples; ``raw``: of the raw weights in any case."""
    names = [field.name for field in dataclasses.fields(Sampling) if field.name != "raw"]
    return Sampling(
        **{name: config.sample[name] for name in names}, raw=raw or not config.ema.half_life > 0
    )
