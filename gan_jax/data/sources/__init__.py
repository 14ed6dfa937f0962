"""Sources of data with random access, by the name that ``config.data.name`` gives.

``digits`` (embedded), ``folder`` (a folder or zip of images), ``npz`` (arrays), ``ring``, ``grid``
and ``swiss_roll`` (toy points); any other name is one of the TFDS catalog.
"""

from collections.abc import Callable
from typing import Any

from gan_jax.data.sources.base import ArraySource, Source
from gan_jax.data.sources.digits import digits
from gan_jax.data.sources.folder import FolderSource, folder
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.npz import NpzSource, npz
from gan_jax.data.sources.tfds import TfdsSource
from gan_jax.data.sources.toy import NAMES as TOYS
from gan_jax.data.sources.toy import ToySource, toy

__all__ = [
    "ArraySource",
    "FolderSource",
    "NpzSource",
    "Source",
    "TfdsSource",
    "ToySource",
    "Transform",
    "make_source",
]

_IMAGES: dict[str, Callable[[Any, Transform], Source]] = {
    "digits": lambda config, transform: digits(config.split, transform),
    "folder": lambda config, transform: folder(
        config.path, config.split, transform, config.on_error
    ),
    "npz": lambda config, transform: npz(config.path, config.split, transform),
}
#: The names that need no TFDS.
BUILT_IN = (*_IMAGES, *TOYS)


def make_source(config: Any) -> Source:
    """Return the source that a configuration describes.

    Args:
      config: ``config.data``, with the fields ``name``, ``split``, ``resolution``, ``channels``,
        ``resize``, ``path``, ``data_dir``, ``on_error``, ``toy_size``, ``toy_noise``.

    Returns:
      The source; nothing but a few images to learn their shape has been decoded yet.

    Raises:
      ConfigError: a field has a value that cannot work.
      DataError: the data set is missing, damaged or empty.
    """
    if config.name in TOYS:
        return toy(config.name, config.toy_size, config.toy_noise)
    transform = Transform(config.resolution, config.channels, config.resize)
    if config.name in _IMAGES:
        return _IMAGES[config.name](config, transform)
    return TfdsSource(config.name, config.split, config.data_dir, transform, BUILT_IN)
