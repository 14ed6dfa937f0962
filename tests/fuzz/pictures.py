"""Image files made byte by byte, or by Pillow, of every kind that folders of images have."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (12, 9, 4)).astype(np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(size: tuple[int, int] = (3, 2), bits: int = 8, colour: int = 0) -> bytes:
    """Return a grey PNG; its header says ``size``, and its pixels are those of 3 by 2."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    rows = b"".join(b"\x00" + bytes([row, 40, 255]) for row in (0, 200))
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _palette(transparency: object) -> bytes:
    image = Image.fromarray(LEVELS[..., :3]).quantize(8)
    return encoded(image, "PNG", transparency=transparency)


def _animated(kind: str) -> bytes:
    frames = [Image.fromarray(np.roll(LEVELS[..., :3], k, 0)) for k in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def _turned(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(LEVELS[..., :3]), kind, exif=exif)


def whole() -> dict[str, tuple[bytes, tuple[int, int, int]]]:
    """Return intact files by name: the bytes, and the shape that is to come out of each."""
    grey, colour = Image.fromarray(LEVELS[..., 0]), Image.fromarray(LEVELS[..., :3])
    wide = Image.fromarray(LEVELS[..., 0].astype("<u2") * 257)
    longer = Image.fromarray(LEVELS[..., 0].astype("<i4") * 200)
    found = {
        "grey.png": (encoded(grey, "PNG"), (12, 9, 1)),
        "colour.png": (encoded(colour, "PNG"), (12, 9, 3)),
        "alpha.png": (encoded(Image.fromarray(LEVELS), "PNG"), (12, 9, 3)),
        "grey_alpha.png": (encoded(Image.fromarray(LEVELS[..., :2]), "PNG"), (12, 9, 1)),
        "bilevel.png": (encoded(grey.convert("1"), "PNG"), (12, 9, 1)),
        "sixteen.png": (encoded(wide, "PNG"), (12, 9, 1)),
        "palette.png": (encoded(colour.quantize(8), "PNG"), (12, 9, 3)),
        "palette_one.png": (_palette(2), (12, 9, 3)),
        "palette_many.png": (_palette(bytes([0, 128, 255])), (12, 9, 3)),
        "grey_key.png": (encoded(grey, "PNG", transparency=7), (12, 9, 1)),
        "interlaced.png": (encoded(colour, "PNG", optimize=True), (12, 9, 3)),
        "pixel.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), (1, 1, 3)),
        "row.png": (encoded(Image.new("L", (500, 1)), "PNG"), (1, 500, 1)),
        "animated.png": (_animated("PNG"), (12, 9, 3)),
        "colour.jpg": (encoded(colour, "JPEG"), (12, 9, 3)),
        "progressive.jpg": (encoded(colour, "JPEG", progressive=True), (12, 9, 3)),
        "grey.jpg": (encoded(grey, "JPEG"), (12, 9, 1)),
        "cmyk.jpg": (encoded(colour.convert("CMYK"), "JPEG"), (12, 9, 3)),
        "colour.gif": (encoded(colour, "GIF"), (12, 9, 3)),
        "animated.gif": (_animated("GIF"), (12, 9, 3)),
        "colour.webp": (encoded(colour, "WEBP"), (12, 9, 3)),
        "alpha.webp": (encoded(Image.fromarray(LEVELS), "WEBP", lossless=True), (12, 9, 3)),
        "animated.webp": (_animated("WEBP"), (12, 9, 3)),
        "colour.bmp": (encoded(colour, "BMP"), (12, 9, 3)),
        "colour.ppm": (encoded(colour, "PPM"), (12, 9, 3)),
        "grey.pgm": (encoded(grey, "PPM"), (12, 9, 1)),
        "colour.tif": (encoded(colour, "TIFF"), (12, 9, 3)),
        "cmyk.tif": (encoded(colour.convert("CMYK"), "TIFF"), (12, 9, 3)),
        "lab.tif": (encoded(Image.new("LAB", (9, 12)), "TIFF"), (12, 9, 3)),
        "packed.tif": (encoded(colour, "TIFF", compression="tiff_lzw"), (12, 9, 3)),
        "wide.tif": (encoded(longer, "TIFF"), (12, 9, 1)),
    }
    for orientation in range(1, 9):
        shape = (9, 12, 3) if orientation > 4 else (12, 9, 3)
        found[f"turned_{orientation}.jpg"] = (_turned(orientation, "JPEG"), shape)
        found[f"turned_{orientation}.png"] = (_turned(orientation, "PNG"), shape)
    return found


def broken() -> dict[str, bytes]:
    """Return files by name that are no images, or none that can be decoded."""
    return {
        "empty.png": b"",
        "empty.jpg": b"",
        "text.png": b"This is no image.\n",
        "zeros.jpg": bytes(1000),
        "html.webp": b"<html><body>404</body></html>",
        "huge.png": png(size=(2**31 - 1, 2**31 - 1)),
        "large.png": png(size=(60_000, 60_000)),
        "nothing.png": png(size=(0, 0)),
        "bits.png": png(bits=5),
        "colour.png": png(colour=9),
        "undefined.tif": encoded(Image.fromarray(np.full((12, 9), np.nan, np.float32)), "TIFF"),
        "head.gif": b"GIF89a\xff\xff\xff\xff",
        "head.bmp": b"BM" + bytes(12) + struct.pack("<I", 40) + b"\xff" * 36,
        "head.ppm": b"P6 99999999 99999999 255\n",
        "minus.bmp": b"BM" + bytes(12) + struct.pack("<IiiHH", 40, -5, -5, 1, 24) + bytes(24),
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
