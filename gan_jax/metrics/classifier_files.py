"""Trained classifiers in files, so that each is trained once."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from gan_jax import arrays
from gan_jax.data.sources.base import content_hash
from gan_jax.errors import MetricError, WorkdirError
from gan_jax.metrics import classifier
from gan_jax.metrics.classifier import Classifier
from gan_jax.metrics.extractor import weights_hash
from gan_jax.report import atomic

logger = logging.getLogger(__name__)


def save(path: str | Path, trained: Classifier) -> None:
    """Write a classifier to an ``.npz`` file atomically, and its folder if it is missing.

    Raises:
      WorkdirError: the file cannot be written.
    """
    about = {
        "shape": list(trained.shape),
        "num_classes": trained.num_classes,
        "accuracy": trained.accuracy,
        "hash": trained.hash,
    }
    weights = flatten_dict(trained.variables, sep="/")
    atomic.write_npz(path, {"about": np.array(json.dumps(about)), **weights})


def load(path: str | Path) -> Classifier:
    """Read a classifier that ``save`` wrote.

    Raises:
      MetricError: the file is missing or damaged, or is not a classifier.
    """
    try:
        weights = arrays.read_npz(path)
        about = json.loads(str(weights.pop("about")))
        height, width, channels = (int(side) for side in about["shape"])
        shape, num_classes = (height, width, channels), int(about["num_classes"])
        accuracy = float(about["accuracy"])
        wanted = flatten_dict(classifier.weight_shapes(shape, num_classes), sep="/")
    # A damaged file raises exceptions of many types: of zip, NumPy's headers, JSON, the network.
    except Exception as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    for name in sorted(wanted.keys() | weights.keys()):
        there = weights.get(name)
        if (
            name not in wanted
            or there is None
            or (there.shape, there.dtype) != (wanted[name].shape, wanted[name].dtype)
        ):
            raise _damaged(path, f"weight {name} is missing, unknown or of another shape or dtype")
    own = weights_hash(weights)
    if own != about.get("hash"):
        raise _damaged(path, f"its weights have the hash {own}, not {about.get('hash')}")
    variables = unflatten_dict(weights, sep="/")
    return Classifier(variables, shape, num_classes, accuracy, own)


def _damaged(path: str | Path, reason: str) -> MetricError:
    return MetricError(f"{path} is not a usable classifier: {reason}")


def cached_classifier(
    folders: Sequence[str | Path],
    fingerprint: str,
    read: Callable[[], tuple[np.ndarray, np.ndarray]],
    num_classes: int,
    *,
    steps: int = classifier.STEPS,
    vertical: bool = True,
) -> Classifier:
    """Return the classifier of a data set from the first folder that has it; train it if none has.

    Side effect: writes a file ``classifier-NAME-HASH.npz`` into each folder that lacks it.
    Concurrent processes each write a complete file; the last one remains.

    Args:
      folders: where it is kept; created if they are missing.
      fingerprint: identity of the labelled set, ``Source.fingerprint()``; the part up to the first
        colon is its name.
      read: returns images and labels, as for `classifier.train_classifier`; called only if the
        classifier is not kept.
      num_classes: as for `classifier.train_classifier`.
      steps: likewise.
      vertical: likewise; the fingerprint says whether.

    Raises:
      MetricError: as for `classifier.train_classifier`. A damaged file is replaced, with a warning.
    """
    identity = json.dumps([classifier.CODE_VERSION, fingerprint, num_classes, steps])
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", fingerprint.split(":")[0]).strip("-.")[:64] or "unnamed"
    paths = [Path(f) / f"classifier-{name}-{content_hash([identity])}.npz" for f in folders]
    found, missing = None, []
    for path in paths:
        try:
            found = found or (load(path) if path.exists() else None)
        except MetricError as error:
            logger.warning("%s; it is replaced", error)
            missing.append(path)
        else:
            missing += [] if path.exists() else [path]
    if found is None:
        logger.info("Training the classifier of %s for its features", name)
        found = classifier.train_classifier(*read(), num_classes, steps=steps, vertical=vertical)
    for path in missing:
        try:
            save(path, found)
        except WorkdirError as error:
            logger.warning("%s; the classifier will be trained again next time", error)
    return found
