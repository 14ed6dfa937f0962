"""What files that leave this machine say of where they are from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gan_jax


def synthetic(run: Path, step: int, **facts: object) -> dict[str, str]:
    """Return text chunks for a PNG file of generated images.

    Args:
      run: the run directory, of which the name is recorded.
      step: of the weights.
      **facts: what else is known, such as the seed; ``None`` is left out.
    """
    text = {
        "Software": f"gan_jax {gan_jax.__version__}",
        "Description": "synthetic image",
        "run": run.resolve().name,
        "step": str(step),
    }
    return text | {name: str(value) for name, value in facts.items() if value is not None}


def published(content: Any) -> Any:
    """Return JSON-able content without the folders of this machine: of a path its name is left."""
    if isinstance(content, Mapping):
        return {name: published(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [published(value) for value in content]
    if isinstance(content, str) and content.startswith(("/", "~", "file:")):
        return Path(content).name
    return content
