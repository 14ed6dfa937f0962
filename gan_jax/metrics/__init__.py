"""Metrics of generated and restored images.

The public functions, imported when they are first used: `measure` (several metrics at once), `fid`
and `kid` of two arrays of images; `psnr`, `ssim` and `ms_ssim` of pairs, a value for each image.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["fid", "kid", "measure", "ms_ssim", "psnr", "ssim"]

if TYPE_CHECKING:
    from gan_jax.metrics.arrays import fid, kid, measure
    from gan_jax.metrics.similarity import ms_ssim, psnr, ssim


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gan_jax.metrics' has no attribute {name!r}")
    from gan_jax.metrics import arrays, similarity

    return getattr(arrays if name in ("fid", "kid", "measure") else similarity, name)
