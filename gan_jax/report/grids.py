"""Pictures: grids of samples, scatter plots of 2-D points, and PNG files of them."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from gan_jax.report import atomic

#: The width of the lines of a grid, in pixels.
PADDING = 2
_VISIBLE = 32
_GREY = 128
_MARGIN = 6
_REAL = (178, 178, 178)
_FAKE = (214, 69, 65)


def grid(
    images: np.ndarray,
    columns: int | None = None,
    padding: int = PADDING,
    scale: int | None = None,
) -> np.ndarray:
    """Lay images out in rows, with grey lines between and around them.

    Args:
      images: uint8 [n, height, width, channels]. Of 4 channels the last one is alpha, and what is
        transparent is drawn on white; of 2, or of more than 4, the channels of an image are grey
        images side by side.
      columns: images per row; None for as square a grid as n allows.
      padding: width of the lines, in pixels of the result.
      scale: side of the square that each pixel becomes; None for the smallest whole number that
        makes a tile at least 32 pixels high and wide, so that a person can see a 16 x 16 digit.

    Returns:
      uint8 [H, W, 1 or 3]; tiles that the last row lacks are grey.

    Raises:
      ValueError: the images have another dtype or rank, or there are none.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            f"images are {images.dtype}{list(images.shape)}; accepted: uint8 [n, height, width, "
            "channels]."
        )
    if 0 in images.shape:
        raise ValueError(f"images have the shape {images.shape}; accepted: at least one pixel.")
    images = _visible(images)
    number, height, width, channels = images.shape
    if scale is None:
        scale = max(1, math.ceil(_VISIBLE / min(height, width)))
    if columns is None:
        columns = math.ceil(math.sqrt(number))
    columns = min(columns, number)
    rows = math.ceil(number / columns)

    tiles = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    row_pitch, column_pitch = height + padding, width + padding
    canvas = np.full(
        (rows * row_pitch + padding, columns * column_pitch + padding, channels), _GREY, np.uint8
    )
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top, left = padding + row * row_pitch, padding + column * column_pitch
        canvas[top : top + height, left : left + width] = tile
    return canvas


def _visible(images: np.ndarray) -> np.ndarray:
    """Return images of any number of channels, uint8, as grey or colour images; see `grid`."""
    number, height, width, channels = images.shape
    if channels in (1, 3):
        return images
    if channels == 4:
        colours, alpha = images[..., :3].astype(np.float32), images[..., 3:] / np.float32(255)
        return np.round(colours * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.moveaxis(images, -1, 2).reshape(number, height, channels * width, 1)


def named_rows(tiles: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Lay rows of images out below each other, with the name of each row to its left.

    Args:
      tiles: uint8 [rows, columns, height, width, channels]; see `grid`.
      names: of the rows, black on white; all empty: there is no margin for them.

    Raises:
      ValueError: the images have another dtype or rank, or there is not one name per row.
    """
    tiles = np.asarray(tiles)
    if tiles.ndim != 5 or len(names) != len(tiles):
        raise ValueError(
            f"tiles are {list(tiles.shape)} with {len(names)} names; accepted: [rows, columns, "
            "height, width, channels] and a name for each row."
        )
    rows, columns = tiles.shape[:2]
    picture = grid(tiles.reshape(rows * columns, *tiles.shape[2:]), columns=columns)
    if not any(names):
        return picture
    font = ImageFont.load_default()
    boxes = [font.getbbox(name) for name in names]
    width = math.ceil(max(box[2] for box in boxes)) + 2 * _MARGIN
    margin = Image.new("L", (width, len(picture)), 255)
    draw = ImageDraw.Draw(margin)
    pitch = len(picture) / rows
    for i, (name, (left, top, _, bottom)) in enumerate(zip(names, boxes, strict=True)):
        middle = (i + 0.5) * pitch
        draw.text((_MARGIN - left, middle - (top + bottom) / 2), name, fill=0, font=font)
    words = np.asarray(margin)[:, :, None].repeat(picture.shape[-1], axis=2)
    return np.concatenate([words, picture], axis=1)


def scatter(
    points: np.ndarray,
    real: np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
    size: int = 512,
) -> np.ndarray:
    """Draw 2-D points as red dots, over real ones in grey, on white.

    Args:
      points: float [n, 2], x to the right and y upwards; those that are not finite, or outside the
        limits, are left out.
      real: float [m, 2], drawn below, or None.
      limits: lowest and highest coordinate shown, of both axes; None for the range of the real
        points (without any: of the points) and a twentieth more on each side.
      size: height and width of the picture, in pixels.

    Returns:
      uint8 [size, size, 3].

    Raises:
      ValueError: an array has another shape, or the limits are empty.
    """
    layers = [(points, _FAKE)] if real is None else [(real, _REAL), (points, _FAKE)]
    for array, _ in layers:
        if np.ndim(array) != 2 or np.shape(array)[1] != 2:
            raise ValueError(f"points have the shape {np.shape(array)}; accepted: [n, 2].")
    low, high = _limits(np.asarray(layers[0][0])) if limits is None else limits
    if not low < high:
        raise ValueError(f"limits = {limits!r}; accepted: two numbers, the lower first.")

    canvas = np.full((size, size, 3), 255, np.uint8)
    radius = max(1, size // 170)
    offsets = np.arange(-radius, radius + 1)
    across, down = np.meshgrid(offsets, offsets)
    disc = np.stack([across, down], -1)[across**2 + down**2 <= radius**2]
    for array, colour in layers:
        shown = np.asarray(array, np.float64)
        with np.errstate(invalid="ignore"):
            shown = shown[np.all((shown >= low) & (shown <= high), axis=1)]
        pixels = np.rint((shown - low) / (high - low) * (size - 1)).astype(int)
        pixels[:, 1] = size - 1 - pixels[:, 1]
        dots = (pixels[:, None] + disc).reshape(-1, 2)
        dots = dots[np.all((dots >= 0) & (dots < size), axis=1)]
        canvas[dots[:, 1], dots[:, 0]] = colour
    return canvas


def text_chunks(text: Mapping[str, str] | None) -> PngInfo:
    """Return texts by their keys as chunks of a PNG file, which Pillow's ``save`` takes."""
    chunks = PngInfo()
    for key, value in (text or {}).items():
        chunks.add_itxt(key, value)
    return chunks


def png(pixels: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """Return pixels, uint8 [height, width(, channels)], as a PNG file with chunks of text."""
    squeezed = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    buffer = io.BytesIO()
    Image.fromarray(squeezed).save(buffer, format="PNG", pnginfo=text_chunks(text))
    return buffer.getvalue()


def save_png(path: str | Path, image: np.ndarray, text: Mapping[str, str] | None = None) -> None:
    """Write a picture atomically as a PNG file.

    Args:
      path: the file; an existing one is replaced.
      image: uint8 [height, width, 1 or 3] or [height, width].
      text: chunks of text for the file, by their keys.

    Raises:
      ValueError: the picture has another dtype or shape.
      WorkdirError: the file cannot be written.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or not (image.ndim == 2 or image.shape[2:] in ((1,), (3,))):
        raise ValueError(
            f"The picture is {image.dtype}{list(image.shape)}; accepted: uint8 [height, width] or "
            "[height, width, channels] of 1 or 3 channels."
        )
    atomic.write_bytes(path, png(image, text))


def _limits(points: np.ndarray) -> tuple[float, float]:
    """Return a range that holds every finite point, with a margin."""
    finite = points[np.all(np.isfinite(points), axis=1)]
    if not len(finite):
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
