"""Decoding image files and bringing images to one shape, with Pillow.

Any file becomes 8-bit grey, RGB or RGBA: palettes, CMYK, YCbCr and bilevel images are converted,
more bits are scaled to 8 (`gan_jax.data.sources.levels`), transparency is composited on white
unless RGBA is asked for, the orientation noted by a camera (EXIF) is applied. Of an animation the
first frame is taken.
"""

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError, features

from gan_jax.data.sources import levels
from gan_jax.data.sources.levels import Levels
from gan_jax.errors import ConfigError

RESIZES = ("resize", "letterbox", "squeeze", "crop", "pad", "tile")
# Pillow's modes by the number of channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
EXIF_ORIENTATION = 0x0112
# Orientations that exchange height and width.
TURNED = (5, 6, 7, 8)
# Otherwise Pillow tries all of its formats, whatever the suffix: for PostScript, Ghostscript.
_FORMATS = ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"]
if features.check("avif"):
    _FORMATS.append("AVIF")
# Pillow warns above half of the size above which it refuses to decode.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclasses.dataclass(frozen=True)
class Transform:
    """Brings 8-bit images of any size to one shape.

    Attributes:
      resolution: height and width of the result, one number for both; None keeps the size of every
        image.
      channels: 1 (grey), 3 (RGB), 4 (RGBA), None (as the image is), or the number of channels that
        an array has.
      resize: "resize" crops the largest centred rectangle of the result's shape and scales it
        (Lanczos down, bicubic up); "letterbox" scales the whole image and fills up with black;
        "squeeze" scales height and width by factors of their own; "crop" cuts out the centre,
        unscaled; "pad" puts the image, unscaled, in the middle of a black one; "tile" is for
        sources of square tiles of photographs (`gan_jax.data.sources.tiles`).
      value_range: the values that become 0 and 255; (): see `gan_jax.data.sources.levels`.

    Raises:
      ConfigError: a field has a value that is not accepted.
    """

    resolution: int | tuple[int, int] | None = None
    channels: int | None = None
    resize: str = "resize"
    value_range: tuple[float, ...] = ()

    def __post_init__(self):
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ConfigError(
                f"data.resolution = {self.resolution}; accepted: 1 or more, two such numbers "
                "(height, width), or None"
            )
        if self.channels is not None and self.channels < 1:
            raise ConfigError(f"data.channels = {self.channels}; accepted: 1 or more, or None")
        levels.given(self.value_range)
        if self.resize not in RESIZES:
            raise ConfigError(f"data.resize = {self.resize!r}; accepted: {', '.join(RESIZES)}")

    @property
    def size(self) -> tuple[int, ...] | None:
        """Height and width of the result; None: those of the image."""
        if self.resolution is None or not isinstance(self.resolution, int):
            return self.resolution and tuple(self.resolution)
        return (self.resolution, self.resolution)

    def check_files(self) -> None:
        """Raise a `ConfigError` unless image files can be brought to these channels."""
        if self.channels is not None and self.channels not in _MODES:
            raise ConfigError(
                f"data.channels = {self.channels}; accepted for image files: 1 (grey), 3 (colour), "
                "4 (colour and alpha), None (as stored)"
            )

    def check_size(self, height: int, width: int) -> None:
        """Check that images of a size can be brought to that of the result.

        Raises:
          ConfigError: ``resize`` is "pad" and the image is larger than ``resolution``, or "crop"
            and it is smaller.
        """
        if self.size is None:
            return
        size = "x".join(map(str, self.size))
        larger = height > self.size[0] or width > self.size[1]
        smaller = height < self.size[0] or width < self.size[1]
        if self.resize == "crop" and smaller:
            raise ConfigError(
                f'data.resize = "crop" cannot cut data.resolution = {size} out of an image of '
                f"{height}x{width}; accepted: {min(height, width)} or less"
            )
        if self.resize == "pad" and larger:
            raise ConfigError(
                f'data.resize = "pad" cannot fit an image of {height}x{width} into '
                f"data.resolution = {size}; accepted: {max(height, width)} or more"
            )

    def check_file(self, height: int, width: int) -> None:
        """Check that `cut` can be applied to images of a size; raises as `check_size`."""
        self.check_size(height, width)

    def shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the shape (h, w, c) that an image of this size gets."""
        if self.size is not None:
            height, width = self.size
        return (height, width, self.channels or channels)

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the image, of mode "L", "RGB" or "RGBA", as uint8 [h, w, c].

        Raises:
          ConfigError: as `check_size`.
        """
        if self.channels is not None:
            mode = _MODES[self.channels]
            image = image if image.mode == mode else image.convert(mode)
        if self.size is not None and image.size != self.size[::-1]:
            self.check_size(image.height, image.width)
            image = _PLACE[self.resize](image, *self.size)
        pixels = np.asarray(image)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    def fields(self, height: int, width: int, channels: int) -> dict[str, tuple[int, int, int]]:
        """Return the shapes, by field, of what `cut` makes of an image of this size."""
        return {"image": self.shape(height, width, channels)}

    def cut(self, image: Image.Image) -> dict[str, np.ndarray]:
        """Return the images of an example, uint8 [h, w, c] by field, that an image file holds."""
        return {"image": self(image)}

    def array(self, pixels: np.ndarray, found: Levels | None = None) -> np.ndarray:
        """Transform an image [h, w, c] with any number of channels.

        Of 4 channels that become 1 or 3, the last one is alpha. Channels that stay as many are
        resized one by one.

        Args:
          pixels: the image.
          found: the levels of pixels that are not uint8, unless ``value_range`` is given.

        Returns:
          uint8 ``shape(h, w, c)``.

        Raises:
          ConfigError: this number of channels cannot be converted.
          ValueError: a pixel is not finite.
        """
        height, width, channels = pixels.shape
        scale = levels.given(self.value_range) or found or Levels()
        if scale.is_of_bytes or pixels.dtype != np.uint8:
            pixels = scale.to_bytes(pixels)
        if self.shape(height, width, channels) == pixels.shape:
            return pixels
        if self.channels in (None, channels):
            grey = dataclasses.replace(self, channels=1)
            planes = [grey(Image.fromarray(pixels[:, :, c])) for c in range(channels)]
            return np.concatenate(planes, axis=-1)
        if channels not in _MODES or self.channels not in _MODES:
            raise ConfigError(
                f"data.channels = {self.channels}: images of {channels} channels cannot be "
                f"converted; accepted: {channels}, or None (as stored)"
            )
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        return self(to_grey_or_rgb(image))


def _scale(
    image: Image.Image, height: int, width: int, box: tuple[float, float, float, float]
) -> Image.Image:
    """Return a part of an image, (left, top, right, bottom), scaled to a size."""
    smaller = height < box[3] - box[1] or width < box[2] - box[0]
    kind = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    return image.resize((width, height), kind, box=box)


def _resize(image: Image.Image, height: int, width: int) -> Image.Image:
    scale = min(image.width / width, image.height / height)
    inner_width, inner_height = round(width * scale), round(height * scale)
    left, top = (image.width - inner_width) // 2, (image.height - inner_height) // 2
    box = (left, top, left + inner_width, top + inner_height)
    if (inner_height, inner_width) == (height, width):
        return image.crop(box)
    return _scale(image, height, width, box)


def _letterbox(image: Image.Image, height: int, width: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    return _pad(_squeeze(image, *inner), height, width)


def _squeeze(image: Image.Image, height: int, width: int) -> Image.Image:
    return _scale(image, height, width, (0, 0, *image.size))


def _crop(image: Image.Image, height: int, width: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, height: int, width: int) -> Image.Image:
    whole = Image.new(image.mode, (width, height))
    whole.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return whole


_PLACE = {
    "resize": _resize,
    "letterbox": _letterbox,
    "squeeze": _squeeze,
    "crop": _crop,
    "pad": _pad,
}


def decode(raw: bytes, found: Levels | None = None, *, alpha: bool = False) -> Image.Image:
    """Decode the bytes of an image file to mode "L" or "RGB", or with ``alpha`` to "RGBA".

    Args:
      raw: the content of the file.
      found: the levels of the set; ``None``: those of all integers of 16 bits.
      alpha: whether transparency is kept.

    Raises:
      Exception: any that Pillow raises for bytes that are no image, truncated or damaged.
    """
    convert = to_rgba if alpha else to_grey_or_rgb
    with opened(raw) as image:
        if not levels.is_deep(image):
            ImageOps.exif_transpose(image, in_place=True)
            return (found or Levels()).on_bytes(convert(image))
        if found is None and image.mode == "F":
            raise ValueError("floating-point pixels have no known range")
    return convert((found or Levels()).image(deep_pixels(raw)))


def deep_pixels(raw: bytes) -> np.ndarray:
    """Return the pixels of a file of more than 8 bits; see `gan_jax.data.sources.levels`."""
    return levels.deep_pixels(raw, _FORMATS)


@contextlib.contextmanager
def opened(raw: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open the bytes of an image file, of which only the header is read.

    Raises:
      Exception: any that Pillow raises for bytes that are no image of the formats of sources, are
        damaged, or have more pixels than ``2 * PIL.Image.MAX_IMAGE_PIXELS``.
    """
    with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
        yield image


def reason(error: Exception) -> str:
    """Return, in one line, why an image cannot be decoded."""
    if isinstance(error, UnidentifiedImageError):
        return "is not an image"
    return f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}"


def to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Return any image of 8 bits per channel as one of mode "L" or "RGB"."""
    image.load()
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    mode = "L" if is_grey(image) else "RGB"
    if image.mode == "1":
        return image.convert(mode)
    if image.has_transparency_data:
        see_through = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, see_through).convert(mode)
    return image.convert(mode)


def to_rgba(image: Image.Image) -> Image.Image:
    """Return any image of 8 bits per channel as one of mode "RGBA"."""
    image.load()
    see_through = image.has_transparency_data
    return (image if see_through else to_grey_or_rgb(image)).convert("RGBA")


def is_grey(image: Image.Image) -> bool:
    """Return whether an image is stored without colour, or with a palette that has none."""
    if image.mode in ("P", "PA"):
        palette = np.reshape(image.getpalette() or [0] * 3, (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
