"""Measures of trained contestants, the same for each, and for a reference.

- Games that generate: sets of samples, by the features of the judge (`scripts.pytorch.judge`).
- Games of pairs: outputs for held-out inputs, by PSNR and SSIM.
- Games of two domains: held-out images translated both ways, by a judge of the two domains.

Fréchet distance, precision, recall, PSNR and SSIM are those of `gan_jax.metrics`.
"""

import abc
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from gan_jax import metrics
from gan_jax.data import device, kinds, sources
from gan_jax.data import pipeline as pipelines
from gan_jax.data import spec as specs
from gan_jax.evaluation.real_images import held_out
from gan_jax.games.cycle import CycleGame
from gan_jax.games.game import Game
from gan_jax.games.translation import A_TO_B, B_TO_A, TranslationGame
from gan_jax.metrics import frechet, manifold
from gan_jax.training import sampling, translating
from scripts.contestants import Contestant, Task
from scripts.pytorch.judge import Judge, make_judge

MOST_SAMPLES = 5000
CROPS = 500  # Of the images of a domain.
SHOWN = 20


class Outcome(NamedTuple):
    """Values by metric, and images to show, uint8 ``[SHOWN, height, width, channels]``."""

    values: dict[str, float]
    shown: np.ndarray


class Measure(abc.ABC):
    """Measures contestants.

    Attributes:
      name: of what contestants are compared with.
      protocol: how values were measured.
      reference: its values and images.
      shown: further images to show, by name.
    """

    name: str
    protocol: str
    reference: Outcome
    shown: Mapping[str, np.ndarray] = MappingProxyType({})

    @abc.abstractmethod
    def outcome(self, contestant: Contestant) -> Outcome:
        """Return the measures of a trained contestant."""


def make_measure(folder: Path, task: Task, game: Game) -> Measure:
    """Return the measure of a game; a judge is kept in the folder."""
    if isinstance(game, CycleGame):
        return Transfer(folder, task, game)
    if isinstance(game, TranslationGame):
        return Restoration(task, game)
    return Generation(folder, task, game)


class Views:
    """A set of real images as a judge sees it, to compare other sets with."""

    def __init__(self, judge: Judge, images: np.ndarray) -> None:
        self._judge = judge
        self._features, _ = judge.look(images)
        self._moments = frechet.moments(self._features)

    def compare(self, images: np.ndarray, labels: np.ndarray | None = None) -> dict[str, float]:
        """Return the distance of images, their precision and recall, and the share of labels met.

        The latter only where labels are given.
        """
        features, classes = self._judge.look(images)
        found = manifold.manifold_scores(self._features, features)
        values = {
            "fid": frechet.frechet_distance(self._moments, frechet.moments(features)),
            "precision": found.precision,
            "recall": found.recall,
        }
        if labels is not None:
            values["accuracy"] = float((classes == labels).mean())
        return values


class Generation(Measure):
    """Samples against half of the training images; the reference is the other half."""

    name = "real data"

    def __init__(self, folder: Path, task: Task, game: Game) -> None:
        images, labels = task.arrays["image"], task.arrays["label"]
        counts = np.bincount(labels, minlength=specs.num_classes(task.source.spec) or 0)
        judge = make_judge(folder, images, labels, len(counts))
        order = np.random.default_rng(0).permutation(len(images))
        self._count = count = min(len(images) // 2, MOST_SAMPLES)
        self._views = Views(judge, images[order[:count]])
        conditional = game.num_classes is not None
        self._class_of = sampling.InProportion(tuple(counts.tolist())) if conditional else None
        others = order[count : 2 * count]
        values = self._views.compare(images[others], labels[others] if conditional else None)
        self.reference = Outcome(values, images[others[:SHOWN]])
        self.protocol = (
            f"{count} samples against {count} training images by features of a PyTorch classifier "
            f"{judge.hash} (accuracy {100 * judge.accuracy:.1f} % on held-out images)"
        )

    def outcome(self, contestant: Contestant) -> Outcome:
        """Return the measures of samples, of classes in the proportions of the data."""
        labels, numbers = None, np.arange(self._count, dtype=np.uint32)
        if self._class_of is not None:
            labels = np.asarray(self._class_of(numbers))
        samples = contestant.sample(self._count, self._class_of)
        return Outcome(self._views.compare(samples, labels), samples[:SHOWN])


class Restoration(Measure):
    """Outputs for held-out inputs against their targets; the reference is the enlarged input."""

    name = "input"

    def __init__(self, task: Task, game: TranslationGame) -> None:
        source, split = held_out(task.config.data)
        points = translating.fitting(translating.data_points(source).batch, game)
        count = len(next(iter(points.values())))
        way = game.directions[A_TO_B]
        self._border = way.scale if way.scale > 1 else 0

        @jax.jit
        def pair(points: dict[str, jax.Array], numbers: jax.Array) -> list[jax.Array]:
            keys = sampling.numbered_keys(numbers, "translate")
            example = game.examples(kinds.to_network(game.spec, points), keys)
            assert example.target is not None
            return [device.to_uint8(x) for x in (example.inputs, example.target)]

        numbers = sampling.seed_and_numbers(0, 0, count)
        self._inputs, self._targets = map(np.asarray, pair(points, numbers))
        enlarged = translating.bicubic(self._inputs, *self._targets.shape[1:3])
        same = translating.as_colour(enlarged, self._targets.shape[3])
        self.reference = Outcome(self._values(same), same[:SHOWN])
        self.shown = {"target": self._targets[:SHOWN]}
        self.protocol = f"{count} images of split {split}, border {self._border}"

    def _values(self, made: np.ndarray) -> dict[str, float]:
        return {
            name: float(np.mean(metric(made, self._targets, border=self._border)))
            for name, metric in (("psnr", metrics.psnr), ("ssim", metrics.ssim))
        }

    def outcome(self, contestant: Contestant) -> Outcome:
        """Return the measures of outputs."""
        made = contestant.translate(self._inputs, A_TO_B)
        return Outcome(self._values(made), made[:SHOWN])


class Transfer(Measure):
    """Crops of held-out images, translated both ways, against crops of the other domain.

    The reference is crops of the training images. The judge classifies images by domain.
    """

    name = "real data"

    def __init__(self, folder: Path, task: Task, game: TranslationGame) -> None:
        source, split = held_out(task.config.data)
        sides = sources.domains(source)
        size, rng = game.image_shape[:2], np.random.default_rng(0)

        def crops(images: np.ndarray) -> np.ndarray:
            rows = rng.integers(len(images), size=CROPS)
            spare = [side - own + 1 for side, own in zip(images.shape[1:3], size, strict=True)]
            places = rng.integers(0, spare, (CROPS, 2))
            found = zip(rows, places, strict=True)
            return np.stack([images[k, i : i + size[0], j : j + size[1]] for k, (i, j) in found])

        trained = [crops(task.arrays[name]) for name in "ab"]
        labels = np.repeat([0, 1], CROPS)
        judge = make_judge(folder, np.concatenate(trained), labels, 2)
        self._inputs = [crops(pipelines.load(sides[name])["image"]) for name in "ab"]
        self._views = [Views(judge, images) for images in self._inputs]
        self.reference = self._outcome(trained[::-1])
        self.shown = {"source": self._some(self._inputs)}
        self.protocol = (
            f"{CROPS} crops of split {split} of each domain by features of a PyTorch classifier "
            f"{judge.hash} (accuracy {100 * judge.accuracy:.1f} % on held-out images)"
        )

    def _outcome(self, made: list[np.ndarray]) -> Outcome:
        """Return the measures of images of B, then of A, as means over the two."""
        both = [
            self._views[target].compare(images, np.full(len(images), target))
            for target, images in zip((1, 0), made, strict=True)
        ]
        values = {name: float(np.mean([own[name] for own in both])) for name in both[0]}
        return Outcome(values, self._some(made))

    @staticmethod
    def _some(images: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([own[: SHOWN // 2] for own in images])

    def outcome(self, contestant: Contestant) -> Outcome:
        """Return the measures of translated images."""
        ways = zip(self._inputs, (A_TO_B, B_TO_A), strict=True)
        return self._outcome([contestant.translate(images, way) for images, way in ways])
