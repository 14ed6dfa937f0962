"""Style mixing: some layers of a generator have the styles of one sample, the others of another.

Karras et al. 2018, "A Style-Based Generator Architecture for Generative Adversarial Networks",
1812.04948, figure 3. Coarse layers determine the layout of an image, fine ones its details.
"""

import re

import numpy as np

from gan_jax import errors

#: Thirds of the layers of a generator.
PARTS = ("coarse", "middle", "fine")


def chosen_layers(part: str, layers: int) -> range:
    """Return the numbers of layers, from the coarsest on, which is 0.

    Args:
      part: one of `PARTS`, or the first and the last number, as in ``"2-5"``, or one number.
      layers: of the generator.

    Raises:
      ConfigError: there are no such layers.
    """
    if part in PARTS:
        third = np.array_split(np.arange(layers), len(PARTS))[PARTS.index(part)]
        first, last = (int(third[0]), int(third[-1])) if len(third) else (0, -1)
    elif match := re.fullmatch(r"(\d+)(?:-(\d+))?", part):
        first, last = int(match[1]), int(match[2] or match[1])
    else:
        first, last = 0, -1
    if not 0 <= first <= last < layers:
        raise errors.ConfigError(
            f"mix = {part!r}; accepted: {', '.join(PARTS)}, or layers from 0 to {layers - 1}, such "
            f"as 0-{layers // 2}"
        )
    return range(first, last + 1)


def table(styles: np.ndarray, chosen: range) -> np.ndarray:
    """Return the styles of all pairs of samples.

    Args:
      styles: float32 ``[n, layers, style_dim]``.
      chosen: the layers that the second one of a pair gives.

    Returns:
      float32 ``[n, n, layers, style_dim]``: at ``[i, j]`` the styles of ``i``, but in the chosen
      layers those of ``j``. On the diagonal are the samples.
    """
    second = np.isin(np.arange(styles.shape[1]), chosen)[:, None]
    return np.where(second, styles[None], styles[:, None])
