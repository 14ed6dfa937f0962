"""Decoding image files and bringing images to one shape, with Pillow.

Any file becomes 8-bit grey or RGB: palettes, CMYK, YCbCr and bilevel images are
converted, 16-bit grey is scaled to 8 bits, transparency is composited on white, the orientation
noted by a camera (EXIF) is applied. Of an animation the first frame is taken.
"""

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from gan_jax.errors import ConfigError

RESIZES = ("resize", "letterbox", "squeeze", "crop", "pad", "tile")
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
      channels: 1 (grey), 3 (RGB), or None: as the image is.
      resize: "resize" crops the largest centred rectangle of the result's shape and scales it
        (Lanczos down, bicubic up); "letterbox" scales the whole image and fills up with black;
        "squeeze" scales height and width by factors of their own; "crop" cuts out the centre,
        unscaled; "pad" puts the image, unscaled, in the middle of a black one; "tile" is for
        sources of square tiles of photographs (`gan_jax.data.sources.tiles`).

    Raises:
      ConfigError: a field has a value that is not accepted.
    """

    resolution: int | tuple[int, int] | None = None
    channels: int | None = None
    resize: str = "resize"

    def __post_init__(self):
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ConfigError(
                f"data.resolution = {self.resolution}; accepted: 1 or more, two such numbers "
                "(height, width), or None"
            )
        if self.channels not in (None, 1, 3):
            raise ConfigError(f"data.channels = {self.channels}; accepted: 1, 3, None (as stored)")
        if self.resize not in RESIZES:
            raise ConfigError(f"data.resize = {self.resize!r}; accepted: {', '.join(RESIZES)}")

    @property
    def size(self) -> tuple[int, ...] | None:
        """Height and width of the result; None: those of the image."""
        if self.resolution is None or not isinstance(self.resolution, int):
            return self.resolution and tuple(self.resolution)
        return (self.resolution, self.resolution)

    def shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the shape (h, w, c) that an image of this size gets."""
        if self.size is not None:
            height, width = self.size
        return (height, width, self.channels or channels)

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the image, of mode "L" or "RGB", as uint8 [h, w, c].

        Raises:
          ConfigError: ``resize`` is "pad" and the image is larger than ``resolution``, or "crop"
            and it is smaller.
        """
        if self.channels is not None:
            mode = "L" if self.channels == 1 else "RGB"
            image = image if image.mode == mode else image.convert(mode)
        if self.size is not None and image.size != self.size[::-1]:
            image = _PLACE[self.resize](image, *self.size)
        pixels = np.asarray(image)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    def fields(self, height: int, width: int, channels: int) -> dict[str, tuple[int, int, int]]:
        """Return the shapes, by field, of what `cut` makes of an image of this size."""
        return {"image": self.shape(height, width, channels)}

    def cut(self, image: Image.Image) -> dict[str, np.ndarray]:
        """Return the images of an example, uint8 [h, w, c] by field, that an image file holds."""
        return {"image": self(image)}

    def array(self, pixels: np.ndarray) -> np.ndarray:
        """Transform uint8 [h, w, c] with 1, 3 or 4 (with alpha) channels.

        Images of any other number of channels are returned unchanged if their shape is right.

        Raises:
          ConfigError: this number of channels can be neither resized nor converted.
        """
        height, width, channels = pixels.shape
        if self.shape(height, width, channels) == pixels.shape and channels != 4:
            return pixels
        if channels not in (1, 3, 4):
            raise ConfigError(
                f"images of {channels} channels can be neither resized nor converted; "
                f"accepted: images of shape {self.shape(height, width, channels)}"
            )
        return self(to_grey_or_rgb(Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)))


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
    if image.height < height or image.width < width:
        raise ConfigError(
            f'data.resize = "crop" cannot cut data.resolution = {height}x{width} out of an image '
            f"of {image.height}x{image.width}; accepted: {min(image.size)} or less"
        )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, height: int, width: int) -> Image.Image:
    if image.height > height or image.width > width:
        raise ConfigError(
            f'data.resize = "pad" cannot fit an image of {image.height}x{image.width} into '
            f"data.resolution = {height}x{width}; accepted: {max(image.size)} or more"
        )
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


def decode(raw: bytes) -> Image.Image:
    """Decode the bytes of an image file to mode "L" or "RGB".

    Raises:
      Exception: any that Pillow raises for bytes that are no image, truncated or damaged.
    """
    with opened(raw) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return to_grey_or_rgb(image)


@contextlib.contextmanager
def opened(raw: bytes) -> Iterator[Image.Image]:
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
    """Return any image as one of mode "L" or "RGB", 8 bits per channel."""
    image.load()
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        # 65535 / 255 = 257 exactly, so that white stays white and the levels are evenly spaced.
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        see_through = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        grey = image.mode in ("L", "LA", "La")
        return Image.alpha_composite(white, see_through).convert("L" if grey else "RGB")
    return image.convert("RGB")
