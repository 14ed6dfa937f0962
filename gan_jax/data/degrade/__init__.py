"""Degradations: pure keyed functions from clean images or sounds to the inputs of restoration."""

from gan_jax.data.degrade.degradation import Degradation, Degraded
from gan_jax.data.degrade.registry import DEGRADATIONS, make

__all__ = ["DEGRADATIONS", "Degradation", "Degraded", "make"]
