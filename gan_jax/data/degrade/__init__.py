"""Degradations: pure keyed functions that make, of clean images, what is to be restored."""

from gan_jax.data.degrade.degradation import Degradation, Degraded
from gan_jax.data.degrade.registry import DEGRADATIONS, make

__all__ = ["DEGRADATIONS", "Degradation", "Degraded", "make"]
