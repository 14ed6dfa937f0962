"""The integrity of a checkpoint: checksums of its leaves and of its metadata.

They detect flipped bits, truncated files and lost writes.
"""

import json
import zlib
from typing import Any

import numpy as np


class DamageError(Exception):
    """A checkpoint is not what was saved; the message says what differs."""


def crc32_of(array: np.ndarray) -> int:
    """Return the CRC-32 of an array's bytes, in C order."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _canonical(body: Any) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def seal(body: dict[str, Any]) -> dict[str, Any]:
    """Return metadata as they are stored: with their own CRC-32."""
    # Through JSON once, so that tuples and integer keys already are what the reader will see.
    body = json.loads(json.dumps(body))
    return {"crc32": zlib.crc32(_canonical(body)), "body": body}


def unseal(text: bytes) -> dict[str, Any]:
    """Return the metadata of a stored text; raise a `DamageError` if it was changed."""
    try:
        sealed = json.loads(text)
        body, crc32 = sealed["body"], sealed["crc32"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError("its metadata are not the JSON that was written") from error
    if zlib.crc32(_canonical(body)) != crc32:
        raise DamageError("the checksum of its metadata is wrong")
    return body
