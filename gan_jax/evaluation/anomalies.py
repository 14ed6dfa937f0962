"""What an evaluation of anomaly detection measures: a split with images of other classes, too."""

from typing import Any

from ml_collections import ConfigDict

from gan_jax.data import sources
from gan_jax.data.sources import Source
from gan_jax.evaluation.real_images import held_out
from gan_jax.evaluation.settings import Settings


def measured_source(config: Any, settings: Settings) -> Source:
    """Return the images of an evaluation, normal ones and anomalies.

    They are of ``eval.split``; where that is unset, of the test or validation split if there is
    one, else of the training split, whose normal images were trained on.
    """
    fields = ConfigDict(config.data.to_dict())
    fields.update(normal=(), without=())
    if settings.split is None:
        return held_out(fields)[0]
    fields.split = settings.split
    return sources.make_source(fields)


def anomalous_classes(config: Any, training: Source, measured: Source) -> list[int]:
    """Return the numbers of the classes of ``measured`` that are not normal.

    There are none where images of one kind alone cannot be compared: normal ones or others.

    Args:
      config: of the run.
      training: its training data.
      measured: as `measured_source` returns them.

    Raises:
      ConfigError: the normal classes are unknown.
    """
    names = measured.class_names
    if names is None:
        return []
    labelled = measured if training.class_names is None else training
    sources.check_normal(config.data, labelled)
    normal = sources.normal_names(config.data, labelled)
    present = sources.present_classes(measured)
    found = [k for k in present if names[k] not in normal]
    return found if len(found) < len(present) else []


def lacking(config: Any, training: Source, measured: Source) -> str:
    """Return, in words, which images ``measured`` lacks that has normal ones or anomalies alone."""
    where = f"in split {measured.split}"
    if measured.class_names is not None and training.class_names is not None:
        present = [measured.class_names[k] for k in sources.present_classes(measured)]
        normal = sources.normal_names(config.data, training)
        if not set(present) & set(normal):
            return f"no images of {', '.join(normal)} {where}, but of {', '.join(present)}"
    return f"none beside normal images {where}"
