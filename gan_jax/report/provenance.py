"""What a PNG file of generated images says of where it is from."""

from pathlib import Path

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
