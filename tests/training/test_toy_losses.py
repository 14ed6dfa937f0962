"""Every adversarial loss, with every penalty that suits it, finds the modes of a mixture."""

import numpy as np
import pytest

from gan_jax.data import sources
from gan_jax.metrics import modes
from scripts import toy_table

pytestmark = pytest.mark.slow

STEPS = 1000
LEAST_MODES = 7
LEAST_SHARE = 0.1


def coverage(points):
    source = sources.make_source(toy_table.make_config("minimax", "none", STEPS).data)
    return modes.mode_coverage(points, source.modes, source.std)


@pytest.mark.parametrize(("loss", "penalty"), toy_table.combinations())
def test_a_loss_finds_the_modes(loss, penalty):
    (scores,) = toy_table.measure(toy_table.make_config(loss, penalty, STEPS), seeds=[0])
    assert scores["modes"] >= LEAST_MODES
    assert scores["high_quality"] > LEAST_SHARE


def test_the_bounds_are_out_of_reach_of_who_learns_only_the_radius():
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * rng.random(2500)
    circle = 2.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert coverage(circle).high_quality < LEAST_SHARE


def test_the_bounds_are_out_of_reach_of_an_untrained_generator():
    (scores,) = toy_table.measure(toy_table.make_config("minimax", "none", 1), seeds=[0])
    assert scores["high_quality"] < LEAST_SHARE / 2
