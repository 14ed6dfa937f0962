"""Measures of a run by images that it was not trained on: classification and membership.

`gan_jax.metrics.classification` measures whether samples serve to train a classifier, and
`gan_jax.metrics.membership` whether training images can be distinguished from others.

The training images are split at random into two halves for membership. One half are the members;
the other half trains the classifier in whose features distances are measured, so that it has seen
neither members nor others, and is a generator without leaks to compare with: ``real_auroc_pixels``
is the area with these real images as samples, and differs from 0.5 as far as the two splits do.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds, order
from gan_jax.data import pipeline as pipelines
from gan_jax.data import spec as specs
from gan_jax.data.sources import Source, labels_of
from gan_jax.data.spec import LABEL
from gan_jax.device_map import DeviceMap
from gan_jax.evaluation import real_images
from gan_jax.evaluation.settings import Settings
from gan_jax.games.game import GenerativeGame
from gan_jax.metrics import classification, classifier, membership, statistics
from gan_jax.metrics.classification import LabelledImages
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Extraction

logger = logging.getLogger(__name__)

DISCRIMINATOR = "discriminator"
# The measures of membership, by what an attacker looks at.
_ATTACK = {name: f"membership_auroc_{name}" for name in (DISCRIMINATOR, "pixels", "classifier")}
MOST = 20_000
"""Images at most of each split; of a larger one, a fixed random part is used."""
# Share of the held-out images above which their being training images is no accident.
_REPEATED = 0.1


def choose(
    config: Any,
    settings: Settings,
    game: GenerativeGame,
    source: Source,
    metrics: Sequence[Metric],
) -> tuple[list[Metric], Source | None]:
    """Return the metrics, ``membership_auroc`` replaced by those that suit, and held-out images.

    Args:
      config: of the run.
      settings: of the evaluation.
      game: of the run.
      source: its training data.
      metrics: some may be of this module.

    Returns:
      The metrics, and images that were not trained on; ``None`` where no metric needs them.

    Raises:
      ConfigError: a metric does not suit the run, or there are no such images.
      DataError: the other split cannot be read.
    """
    own = [metric.name for metric in metrics if metric.of == "held_out"]
    if not own:
        return list(metrics), None
    if source.field.kind != "image":
        raise errors.ConfigError(
            f"eval.metrics has {own[0]!r}, but samples of {source.name} are of kind "
            f"{source.field.kind}; accepted: images"
        )
    chosen: dict[str, Metric] = {}
    for metric in metrics:
        if metric.name == "membership_auroc":
            for name in _ATTACK.values():
                if why := _unfit(name, settings, game, source):
                    logger.warning("membership_auroc leaves out %s, %s", name, why)
                else:
                    chosen[name] = Metric(name, name, None)
        elif metric.of == "held_out" and (why := _unfit(metric.name, settings, game, source)):
            raise errors.ConfigError(f"eval.metrics has {metric.name!r}, {why}")
        else:
            chosen[metric.name] = metric
    return list(chosen.values()), _unseen(config, settings, source, own[0])


def _unfit(name: str, settings: Settings, game: GenerativeGame, source: Source) -> str:
    """Return why a run has not a measure, and what has it, or ""."""
    count, classes = _count(settings, source), source.num_classes or 0
    if name == _ATTACK[DISCRIMINATOR] and DISCRIMINATOR not in game.networks:
        found = ", ".join(game.networks)
        return (
            f"which needs one discriminator, but the networks are {found}; accepted: "
            "membership_auroc_pixels"
        )
    if name in classification.LABELS and game.num_classes is None:
        return (
            "which needs samples of each class, but the run is not class-conditional; accepted: a "
            "run with classes, such as cgan"
        )
    learns = name in classification.LABELS or name == _ATTACK["classifier"]
    if learns and classes < 2:
        return (
            f"which trains a classifier, but {source.name} has no classes; accepted: labelled data"
        )
    try:
        if learns:
            half = name == _ATTACK["classifier"]
            classifier.check_set(count // 2 if half else count, source.shape, classes)
        if (wanted := classification.LABELS.get(name)) is not None:
            labels = labels_of(source)[order.subset(len(source), count)]
            classification.check_labels(labels, wanted, classes)
    except errors.MetricError as error:
        return f"which {count} images of {source.name} do not allow: {error}"
    try:
        if name == "gan_train":
            classifier.check_set(settings.num_fake, source.shape, classes)
    except errors.MetricError as error:
        return f"which eval.num_fake = {settings.num_fake} does not allow: {error}"
    return ""


def _count(settings: Settings, source: Source) -> int:
    """Return how many training images are used."""
    return min(settings.num_real or len(source), len(source), MOST)


def _unseen(config: Any, settings: Settings, source: Source, name: str) -> Source:
    """Return images that a run was not trained on."""
    if settings.split is None:
        found, split = real_images.held_out(config.data)
    else:
        found, split = real_images.real_source(config, settings, source), settings.split
    if split == config.data.split:
        raise errors.ConfigError(
            f"eval.metrics has {name!r}, which needs images that were not trained on, but "
            f"{source.name} was trained on split {split!r}, and eval.split = {settings.split!r}; "
            "accepted: eval.split (--split) of other images of the same data set"
        )
    if specs.without_examples(found.spec) != specs.without_examples(source.spec):
        raise errors.ConfigError(
            f"eval.metrics has {name!r}, but images or classes of split {split!r} of "
            f"{source.name} are unlike those of {config.data.split!r}; accepted: alike in size, "
            "channels and names of classes"
        )
    if len(found) < 2:
        raise errors.ConfigError(
            f"eval.metrics has {name!r}, but split {split!r} of {source.name} has {len(found)} "
            "images; accepted: 2 or more"
        )
    return found


class HeldOut:
    """Measures samples and networks by training images and held-out ones.

    The constructor reads the images.

    Args:
      metrics: as `choose` returns them; those of this module are measured.
      settings: of the evaluation.
      game: of the run.
      source: its training data.
      unseen: images that it was not trained on.
      devices: over which work is split.
      mirror: whether the run mirrors its training images at random.

    Attributes:
      networks: whose raw weights it needs, beside those of the networks that make samples.

    Raises:
      ConfigError: held-out images are training images.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        settings: Settings,
        *,
        game: GenerativeGame,
        source: Source,
        unseen: Source,
        devices: Sequence[jax.Device],
        mirror: bool = False,
    ) -> None:
        wanted = [metric.name for metric in metrics if metric.of == "held_out"]
        self._accuracies = [name for name in wanted if name in classification.LABELS]
        self._attacks = [name for name in wanted if name not in classification.LABELS]
        self.networks = (DISCRIMINATOR,) if _ATTACK[DISCRIMINATOR] in self._attacks else ()
        self._size, self._devices, self._mirror = settings.batch_size, devices, mirror
        self._classes, self._unseen = source.num_classes or 0, unseen
        self._real = _load(source, _count(settings, source))
        self._others = _load(unseen, min(len(unseen), MOST))
        _check_apart(self._real["image"], self._others["image"], source, unseen)
        count = len(self._real["image"])
        self._rest, self._members = (
            {name: x[part] for name, x in self._real.items()}
            for part in np.array_split(np.random.default_rng(0).permutation(count), 2)
        )
        # By what distances are measured in: nothing here depends on the checkpoint.
        self._judge = DeviceMap(
            functools.partial(_scores, game), batch_size=settings.batch_size, devices=devices
        )
        self._describe = functools.cache(self._make_describe)
        self._without_leak = functools.cache(
            lambda space: self._by_distance(space, self._rest["image"])
        )

    def protocol(self) -> dict[str, Any]:
        """Return how it measures, JSON-able."""
        return {
            "data": self._unseen.fingerprint(),
            "n_held_out": len(self._others["image"]),
            "n_train": len(self._real["image"]),
            "n_members": len(self._members["image"]),
            "mirror": self._mirror,
            "classifier_steps": classifier.STEPS,
        }

    def measure(
        self, variables: Any, samples: np.ndarray, labels: np.ndarray | None, seed: int
    ) -> dict[str, float]:
        """Return the measures by name, and what they are to be compared with.

        Args:
          variables: by network, on every device.
          samples: uint8 ``[n, height, width, channels]``.
          labels: the classes that were asked for, ``[n]``; ``None``: the run has none.
          seed: of classifiers, and of the choice of their images.
        """
        values: dict[str, float] = {}
        if self._accuracies:
            assert labels is not None
            real, held_out = (
                LabelledImages(data["image"], data[LABEL]) for data in (self._real, self._others)
            )
            values |= classification.accuracies(
                self._accuracies,
                real,
                held_out,
                LabelledImages(samples, labels),
                self._classes,
                seed=seed,
            )
        for space, name in _ATTACK.items():
            if name not in self._attacks:
                continue
            if space == DISCRIMINATOR:
                found = self._by_scores(variables[DISCRIMINATOR])
            else:
                found = self._by_distance(space, samples)
            values |= {name: found.auroc, f"{name}_standard_error": found.standard_error}
            if space != DISCRIMINATOR:
                values[f"real_auroc_{space}"] = self._without_leak(space).auroc
        return values

    def _by_scores(self, variables: Any) -> membership.Inference:
        """Return the attack by the scores of the discriminator, which knows the labels."""
        sides = self._members, self._others
        batch = {name: np.concatenate([side[name] for side in sides]) for name in self._real}
        # Mixed, for a discriminator that compares the images of a batch.
        mixed = np.random.default_rng(0).permutation(len(batch["image"]))
        scores = np.empty(len(mixed), np.float32)
        shuffled = {name: x[mixed] for name, x in batch.items()}
        scores[mixed] = self._judge.on_host(variables, shuffled)
        return membership.infer(*np.split(scores, [len(self._members["image"])]))

    def _by_distance(self, space: str, samples: np.ndarray) -> membership.Inference:
        """Return the attack by the distance to the nearest of some images."""
        describe = self._describe(space)
        rows, scores = describe(samples), []
        for side in (self._members, self._others):
            images = side["image"]
            mirrored = describe(images[:, :, ::-1]) if self._mirror else None
            scores.append(membership.nearness(describe(images), rows, mirrored=mirrored))
        return membership.infer(*scores)

    def _make_describe(self, space: str) -> Callable[[np.ndarray], np.ndarray]:
        """Return what gives the rows of images between which distances are measured."""
        if space == "pixels":
            return lambda images: images.reshape(len(images), -1)
        trained = classifier.train_classifier(self._rest["image"], self._rest[LABEL], self._classes)
        extractor = classifier.make_extractor(trained)
        layer = extractor.default
        extraction = Extraction(extractor, (layer,), self._devices, self._size)
        needs = {layer: frozenset({"features"})}

        def features(images: np.ndarray) -> np.ndarray:
            size = extraction.batch_size
            batches = (images[first : first + size] for first in range(0, len(images), size))
            return statistics.collect(extraction, batches, len(images), needs).features[layer]

        return features


def _scores(game: GenerativeGame, variables: Any, batch: dict[str, jax.Array]) -> Any:
    """Return the discriminator's scores of real images, float32 ``[n]``; means over patches."""
    seen = kinds.to_network(game.spec, batch)
    condition = {LABEL: seen[LABEL]} if LABEL in seen else {}
    module = game.networks[DISCRIMINATOR].module
    scores: Any = module.apply(variables, specs.data(seen, game.spec), condition, train=False)
    return scores.reshape(len(scores), -1).mean(axis=1)


def _load(source: Source, count: int) -> dict[str, np.ndarray]:
    return pipelines.load(source, indices=order.subset(len(source), count).tolist())


def _check_apart(real: np.ndarray, others: np.ndarray, source: Source, unseen: Source) -> None:
    """Raise a `ConfigError` if more held-out images are training images than a data set repeats."""
    known = {image.tobytes() for image in real}
    repeated = sum(image.tobytes() in known for image in others)
    if repeated > _REPEATED * len(others):
        raise errors.ConfigError(
            f"eval.split: {repeated} of {len(others)} images of split {unseen.split!r} of "
            f"{unseen.name} are training images (split {source.split!r}); accepted: a split "
            "that was not trained on"
        )
