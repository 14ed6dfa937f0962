"""Paths that users give: ``~`` and ``file://`` are understood, other schemes are refused."""

import os
import re
import urllib.parse
from pathlib import Path

from gan_jax import errors

# `pathlib` makes one slash of two. One letter would be a drive of Windows.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def local(path: str | os.PathLike[str], field: str) -> Path:
    """Return a path on this machine, with ``~`` expanded.

    Args:
      path: as a user gave it.
      field: that gave it, such as ``--workdir``, for the message.

    Raises:
      ConfigError: it is remote, or of a user that there is not.
    """
    text = os.fspath(path)
    if (scheme := _SCHEME.match(text)) is None:
        place = text
    elif scheme[1].lower() == "file":
        # file:/path, file:///path or file://localhost/path.
        parsed = urllib.parse.urlparse(text)
        errors.require(parsed.netloc in ("", "localhost"), field, text, "file:///...")
        place = urllib.parse.unquote(parsed.path)
    else:
        raise errors.ConfigError(
            f"{field} = {text!r} is not on this machine; accepted: a path on it, such as that of a "
            "download, or of a bucket that is mounted"
        )
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise errors.ConfigError(f"{field} = {text!r}: {error}") from error


def is_special(text: str) -> bool:
    """Return whether a text is a path that `local` changes or refuses."""
    return text.startswith("~") or _SCHEME.match(text) is not None
