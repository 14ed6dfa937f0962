"""Sources of data with random access, by the name that ``config.data.name`` gives.

``digits``, ``stacked_digits`` and ``photos`` (embedded), ``folder`` (a folder or zip of images),
``npz`` (arrays), ``ring``, ``grid`` and ``swiss_roll`` (toy points), ``tones`` (synthetic sound),
``sounds`` (a folder or zip of sound files), ``bouncing`` (synthetic videos),
``videos`` (a folder or zip of videos), ``grammar`` (synthetic sentences), ``text`` (a text
file), ``scales`` (synthetic bars of music), ``midi`` (a folder or zip of MIDI files), ``shapes``
(synthetic pictures with captions), ``captioned`` (a folder or zip of images with captions); any
other name is one of the TFDS catalog.
``config.data.pairing`` makes examples of two images of these.
"""

from collections.abc import Callable
from typing import Any

from gan_jax.data.sources.base import ArraySource, Source, image_source
from gan_jax.data.sources.bouncing import BouncingSource, bouncing
from gan_jax.data.sources.captioned import CaptionedSource, Captions
from gan_jax.data.sources.digits import digits
from gan_jax.data.sources.files import FileSource
from gan_jax.data.sources.folder import FolderSource
from gan_jax.data.sources.grammar import GrammarSource, grammar
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.midi import Bars, MidiSource
from gan_jax.data.sources.normal import check_normal, normal_names, present_classes, trained_classes
from gan_jax.data.sources.npz import NpzSource
from gan_jax.data.sources.pairs import PAIRINGS, DomainSource, domains, paired
from gan_jax.data.sources.photos import photos
from gan_jax.data.sources.scales import ScaleSource, scales
from gan_jax.data.sources.shapes import SIDE, ShapeSource, shapes
from gan_jax.data.sources.sounds import Clip, SoundSource
from gan_jax.data.sources.spectral import Spectrograms
from gan_jax.data.sources.stacked import StackedSource, stacked_digits
from gan_jax.data.sources.subset import Subset, known_labels, labels_of, only_classes
from gan_jax.data.sources.text import TextSource, Tokenization
from gan_jax.data.sources.tfds import TfdsSource
from gan_jax.data.sources.tiles import TiledSource, tiles
from gan_jax.data.sources.tones import ToneSource, tones
from gan_jax.data.sources.toy import NAMES as TOYS
from gan_jax.data.sources.toy import ToySource, toy
from gan_jax.data.sources.twins import TwinSource
from gan_jax.data.sources.videos import Film, VideoSource
from gan_jax.errors import ConfigError, lookup

__all__ = [
    "ArraySource",
    "BouncingSource",
    "CaptionedSource",
    "DomainSource",
    "FileSource",
    "FolderSource",
    "GrammarSource",
    "MidiSource",
    "NpzSource",
    "ScaleSource",
    "ShapeSource",
    "SoundSource",
    "Source",
    "StackedSource",
    "Subset",
    "TextSource",
    "TfdsSource",
    "TiledSource",
    "ToneSource",
    "ToySource",
    "Transform",
    "TwinSource",
    "VideoSource",
    "check_normal",
    "domains",
    "image_source",
    "known_labels",
    "labels_of",
    "make_source",
    "normal_names",
    "present_classes",
    "resized",
    "scales",
    "shapes",
]

_IMAGES: dict[str, Callable[[Any, Transform], Source]] = {
    "captioned": lambda config, transform: CaptionedSource(
        config.path, config.split, transform, Captions(**config.captions), config.on_error
    ),
    "digits": lambda config, transform: digits(config.split, transform),
    "folder": lambda config, transform: FolderSource(
        config.path, config.split, transform, config.on_error, config.labels
    ),
    "npz": lambda config, transform: NpzSource(config.path, config.split, transform),
    "photos": lambda config, transform: photos(config.split, transform),
    "stacked_digits": lambda config, transform: stacked_digits(
        config.split, transform, config.toy_size
    ),
}
#: The names that need no TFDS.
BUILT_IN = (
    *_IMAGES,
    *TOYS,
    *("tones", "sounds", "bouncing", "videos", "grammar", "text", "scales", "midi", "shapes"),
)


def make_source(config: Any) -> Source:
    """Return the source that a configuration describes.

    Args:
      config: ``config.data``.

    Returns:
      The source; only a few images have been decoded, to learn their shape.

    Raises:
      ConfigError: a field has a value that is not accepted.
      DataError: the data set is missing, damaged or empty.
    """
    lookup(dict.fromkeys(PAIRINGS), config.pairing, "data.pairing")
    transform = Transform(
        config.resolution, config.channels, config.resize, tuple(config.value_range)
    )
    if config.labels and config.name != "folder":
        raise ConfigError(
            f"data.labels = {config.labels} with data.name = {config.name!r}; accepted: (), or "
            "'folder'"
        )
    if config.pairing != "none":
        for field in ("labels", "normal", "without"):
            if config[field]:
                raise ConfigError(
                    f"data.{field} = {config[field]} with data.pairing = {config.pairing!r}; "
                    "accepted: ()"
                )
        return paired(config, transform, _one)
    source = Spectrograms(**config.spectrogram).of(_one(config, transform))
    if (kept := trained_classes(config, source)) is None:
        return source
    word, names = ("only", config.normal) if config.normal else ("without", config.without)
    return only_classes(source, kept, f"{config.split}-{word}-{','.join(map(str, names))}")


def resized(source: Source, config: Any) -> Source:
    """Return the source of a configuration that differs from that of ``source`` in its size alone.

    The files of a folder are not listed again.
    """
    if isinstance(source, FolderSource):
        return source.resized(config.resolution)
    return make_source(config)


def _one(config: Any, transform: Transform) -> Source:
    """Return a source of one data point per example."""
    if config.name in TOYS:
        return toy(config.name, config.toy_size, config.toy_noise)
    if config.name == "tones":
        return tones(config.split, config.toy_size)
    if config.name == "sounds":
        return SoundSource(config.path, config.split, Clip(**config.sound), config.on_error)
    if config.name == "videos":
        film = Film(**config.video)
        return VideoSource(config.path, config.split, film, transform, config.on_error)
    if config.name == "bouncing":
        return bouncing(config.split, config.toy_size)
    if config.name == "grammar":
        return grammar(config.split, config.toy_size)
    if config.name == "scales":
        return scales(config.split, config.toy_size)
    if config.name == "shapes":
        return shapes(config.split, config.toy_size, config.resolution or SIDE)
    if config.name == "midi":
        return MidiSource(config.path, config.split, Bars(**config.music), config.on_error)
    if config.name == "text":
        return TextSource(config.path, config.split, Tokenization(**config.text))
    if transform.resize == "tile" and config.name == "folder":
        return tiles(config.path, config.split, transform, config.on_error, config.labels)
    if transform.resize == "tile" and config.name != "photos":
        raise ConfigError(
            f"data.resize = 'tile' with data.name = {config.name!r}; accepted: 'folder' or 'photos'"
        )
    if config.name in _IMAGES:
        return _IMAGES[config.name](config, transform)
    return TfdsSource(config.name, config.split, config.data_dir, transform, BUILT_IN)
