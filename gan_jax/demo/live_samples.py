"""Samples for a person who waits for them: one program is compiled, whatever is asked for."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from gan_jax.data import kinds
from gan_jax.device_map import DeviceMap
from gan_jax.games import draws
from gan_jax.inference.sample_request import Request
from gan_jax.training import interpolation, sampling
from gan_jax.training.sampling import Variables


class LiveSampler:
    """Makes the samples that `gan_jax.runs.run.Run.sample` returns, and those between two seeds.

    The weights stay on the device. The seed, the number, the label and the place between two seeds
    compile nothing; the first truncation does, unless the configuration has one.

    Args:
      ask: the run, its checkpoint and how samples are made; its seed and label are not used.

    Attributes:
      ask: as given.
      kind: of the samples.
    """

    def __init__(self, ask: Request) -> None:
        self.ask, self.kind = ask, kinds.of(ask.field)
        game, train = ask.game, ask.sampling.batch_norm == "batch"

        def share(shared: tuple[Any, Any], z: jax.Array, numbers: jax.Array, labels: Any) -> Any:
            variables, truncation = shared
            keys = sampling.numbered_keys(numbers, "sample")
            noise = jax.vmap(lambda key: draws.named(key, "generator"))(keys)
            condition = sampling.condition_of(game, labels)
            how: dict[str, Any] = {"keys": noise, "truncation": truncation, "train": train}
            return self.kind.to_stored(game.sample(variables, z, condition, **how))

        self._make = DeviceMap(share, batch_size=ask.batch_size)
        self._sampler = ask.sampler()
        self._standing = functools.lru_cache(maxsize=1)(self._place)

    def __call__(
        self,
        seed: int,
        num: int,
        *,
        label: int | str | None = None,
        truncation: float | None = None,
        second: int | None = None,
        share: float = 0.0,
    ) -> np.ndarray:
        """Return samples ``[num, *shape]`` as the data are stored: images are uint8.

        Args:
          seed: of the latents, 0 to 2^32 - 1.
          num: how many.
          label: the class, or what is asked of attributes, or a caption; ``None``: all in turn.
          truncation: in place of the configuration's.
          second: the seed whose latents samples move to, on an arc.
          share: of the way to them, in [0, 1].
        """
        total = -(-num // self._make.batch_size) * self._make.batch_size
        limit = self.ask.sampling.truncation if truncation is None else truncation
        with self.ask.run.precision():
            z = self._latents(seed, total)
            if second is not None:
                z = interpolation.slerp(z, self._latents(second, total), share)
            shared = (self._variables(seed), None if limit is None else np.float32(limit))
            numbers = sampling.seed_and_numbers(seed, 0, total)
            made: np.ndarray = self._make.on_host(shared, z, numbers, self.labels(total, label))
        return made[:num]

    def labels(self, num: int, label: int | str | None) -> np.ndarray | None:
        """Return the labels of the first samples, ``[num, ...]``; ``None``: there are none."""
        return sampling.first_labels(self.ask.game, num, label)

    def label(self, given: str) -> int | str | None:
        """Return the label that a text asks for; an empty one asks for all in turn.

        Raises:
          ConfigError: the run has no such class, attribute or word.
        """
        if not given.strip():
            return None
        run = self.ask.run
        return run.class_number(given) if self.ask.captions is None else run.caption(given)

    def _latents(self, seed: int, total: int) -> np.ndarray:
        starts = range(0, total, self._make.batch_size)
        batches = [jax.device_get(self._sampler.latents(first, seed)[0]) for first in starts]
        return np.concatenate(batches)

    def _variables(self, seed: int) -> dict[str, Variables]:
        # Only standing statistics are those of a seed.
        return self._standing(seed if self.ask.sampling.batch_norm == "standing" else 0)

    def _place(self, seed: int) -> dict[str, Variables]:
        sampler = dataclasses.replace(self.ask, seed=seed).sampler()
        return sampler.place(self.ask.weights.variables)
