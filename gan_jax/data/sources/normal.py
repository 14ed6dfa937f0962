"""The normal classes of a data set, for anomaly detection: those that are trained on.

``data.normal`` names them, or ``data.without`` names all others. With neither, the classes that the
training split has are the normal ones, so that a split with a single class needs no names.
"""

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from gan_jax.data.sources.base import Source
from gan_jax.data.sources.folder import FolderSource
from gan_jax.data.sources.subset import class_number, known_labels
from gan_jax.errors import ConfigError


def trained_classes(config: Any, source: Source) -> list[int] | None:
    """Return the numbers of the classes that are trained on; ``None``: all of them.

    Images of one folder have no classes to choose from, and are normal if ``data.normal`` is set.

    Args:
      config: ``config.data``.
      source: of all classes.

    Raises:
      ConfigError: both fields are set, the source has no such class, or none is left.
    """
    if config.normal and config.without:
        raise ConfigError(
            f"data.normal = {config.normal} with data.without = {config.without}; accepted: one "
            "of them"
        )
    if config.normal and not _is_one_folder(source):
        return [class_number(source, name, "data.normal") for name in config.normal]
    if not config.without:
        return None
    others = [class_number(source, name, "data.without") for name in config.without]
    kept = [k for k in range(source.num_classes or 0) if k not in others]
    if not kept:
        raise ConfigError(f"data.without = {config.without} leaves nothing of {source.name}")
    return kept


def normal_names(config: Any, source: Source) -> list[str]:
    """Return the names of the normal classes of a labelled source, as `trained_classes` does."""
    assert source.class_names is not None
    numbers = trained_classes(config, source)
    if numbers is None:
        numbers = present_classes(source)
    return [source.class_names[k] for k in numbers]


def check_normal(config: Any, source: Source) -> None:
    """Check that the normal classes of a source are known.

    Raises:
      ConfigError: it has images of several classes, and neither field is set.
    """
    if config.normal or config.without or source.class_names is None:
        return
    if len(found := present_classes(source)) > 1:
        named = ", ".join(source.class_names[k] for k in found)
        raise ConfigError(
            f"data.normal = (), and {source.name} has images of {len(found)} classes in split "
            f"{source.split!r}: {named}; accepted: the names of the normal ones, which alone are "
            "trained on (--config.data.normal=NAME)"
        )


def present_classes(source: Source) -> list[int]:
    """Return the numbers of the classes with examples, as far as these need not be read."""
    if (labels := known_labels(source)) is None:
        return list(range(source.num_classes or 0))
    return np.unique(labels).tolist()


def _is_one_folder(source: Source) -> bool:
    """Return whether all images are files of one folder."""
    if not isinstance(source, FolderSource) or source.class_names is not None:
        return False
    return len({PurePosixPath(name).parent for name in source.names}) == 1
