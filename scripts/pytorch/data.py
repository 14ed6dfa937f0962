"""Batches of real data for the references: in the order of a run, cropped, mirrored and degraded.

The set is in memory as it is stored. Crops and reflections are drawn by PyTorch, with other results
than ours of the same distribution.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from gan_jax.data.degrade import Degradation
from gan_jax.data.degrade.colour import Grey
from gan_jax.data.degrade.resize import Downsample
from gan_jax.data.order import Layout
from gan_jax.errors import ConfigError
from gan_jax.games.cycle import CycleGame
from gan_jax.games.game import Game
from gan_jax.games.translation import TranslationGame
from gan_jax.training.preparation import Prepare
from scripts.pytorch.system import Batch, Placement


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return bytes as what networks see, in [-1, 1]."""
    return images.float().sub_(127.5).div_(127.5)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Return images in [-1, 1] as bytes."""
    return images.float().add(1).mul(127.5).add(0.5).floor().clamp(0, 255).to(torch.uint8)


def channels_first(images: np.ndarray) -> torch.Tensor:
    """Return images ``[n, height, width, channels]`` as ``[n, channels, height, width]``."""
    return torch.tensor(images).movedim(-1, 1)


def channels_last(images: torch.Tensor) -> np.ndarray:
    """Return images ``[n, channels, height, width]`` as ``[n, height, width, channels]``."""
    return images.movedim(1, -1).cpu().numpy()


def degrade(how: Degradation, images: torch.Tensor) -> torch.Tensor:
    """Return the inputs that a degradation makes of images in [-1, 1]."""
    if isinstance(how, Grey):
        weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)
        grey = (images * weights[:, None, None]).sum(1, keepdim=True)
        return to_float(to_uint8(grey))
    if isinstance(how, Downsample):
        size = [side // how.factor for side in images.shape[2:]]
        small = F.interpolate(images, size, mode="bicubic", antialias=True)
        return to_float(to_uint8(small)) if how.round else small.clamp(-1, 1)
    raise ConfigError(f"degrade.name = {how.name!r} with PyTorch; accepted: downsample, grey")


class Batches(Iterator[list[Batch]]):
    """The batches of each train step.

    Args:
      arrays: the data set as it is stored, by field; of two domains, ``a`` and ``b``.
      layout: the order of the examples.
      prepare: which crops and reflections are made.
      game: that they are for.
      placement: of the reference.
      seed: of crops and reflections.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        layout: Layout,
        prepare: Prepare,
        game: Game,
        placement: Placement,
        seed: int,
    ) -> None:
        self._data = {
            name: placement.put(channels_first(x) if x.ndim == 4 else torch.tensor(x).long())
            for name, x in arrays.items()
        }
        self._layout, self._prepare, self._game = layout, prepare, game
        self._placement = placement
        self._random = torch.Generator().manual_seed(seed)
        self._steps = itertools.count()

    def __next__(self) -> list[Batch]:
        """Return the batches of the next step."""
        count = self._layout.batches_per_step
        rows = self._layout.indices(next(self._steps) * count, count)
        return [
            self._batch([torch.from_numpy(side[k]).long() for side in rows]) for k in range(count)
        ]

    def _batch(self, rows: Sequence[torch.Tensor]) -> Batch:
        """Return the batch of these examples, given for each domain."""
        names = [name for name in self._data if name != "label"]
        sides = dict(zip(names, itertools.cycle(rows), strict=False))
        images = {name: self._data[name][index] for name, index in sides.items()}
        if isinstance(self._game, CycleGame):
            return {name: self._seen(self._moved(x)) for name, x in images.items()}
        # Both images of a pair are moved alike.
        moved = self._seen(self._moved(torch.cat(list(images.values()), 1)))
        if not isinstance(self._game, TranslationGame):
            label = self._data.get("label")
            labels = torch.zeros_like(rows[0]) if label is None else label[rows[0]]
            return {"image": moved, "label": labels}
        if self._game.degradation is None:
            inputs, target = moved.chunk(2, 1)
            return {"inputs": inputs, "target": target}
        return {
            "inputs": self._placement.put(degrade(self._game.degradation, moved)),
            "target": moved,
        }

    def _seen(self, images: torch.Tensor) -> torch.Tensor:
        return self._placement.put(to_float(images))

    def _moved(self, images: torch.Tensor) -> torch.Tensor:
        """Return images cropped and mirrored at random."""
        count, _, height, width = images.shape
        if (size := self._prepare.crop) is not None:
            tops, lefts = (
                torch.randint(side - size + 1, (count,), generator=self._random).tolist()
                for side in (height, width)
            )
            places = zip(images, tops, lefts, strict=True)
            images = torch.stack([x[:, i : i + size, j : j + size] for x, i, j in places])
        if self._prepare.flip:
            mirrored = torch.rand(count, generator=self._random) < 0.5
            mirrored = mirrored.to(images.device)[:, None, None, None]
            images = torch.where(mirrored, images.flip(3), images)
        return images
