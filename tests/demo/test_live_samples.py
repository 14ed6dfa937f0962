"""Samples for a person who waits: the run's own, of every seed and label, compiled once."""

import contextlib
import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from gan_jax.data import spec as specs
from gan_jax.demo.live_samples import LiveSampler
from gan_jax.training import interpolation
from gan_jax.training.sampling import Sampler, Sampling, in_turn
from tests.inference.painter import Painter
from tests.inference.pictures import agree


class Sprayer(Painter):
    """Paints with noise of the keys; counts how often it is traced."""

    def __init__(self, **options):
        super().__init__(**options)
        self.traces = 0

    def sample(self, variables, z, condition=None, *, keys=None, truncation=None, train=False):
        """Return pictures with noise."""
        self.traces += 1
        data = super().sample(variables, z, condition, truncation=truncation, train=train)
        return data + jax.vmap(lambda key: jax.random.normal(key, self.shape))(keys) / 4


@dataclasses.dataclass(frozen=True)
class Ask:
    """Stands in for a request of an opened run; notes the seeds that weights are placed for."""

    game: Any
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    batch_size: int = 4
    seed: int = 0
    placed: list = dataclasses.field(default_factory=list)

    field = property(lambda self: specs.data_field(self.game.spec))
    run = property(lambda self: SimpleNamespace(precision=contextlib.nullcontext))
    weights = property(lambda self: SimpleNamespace(variables=self.game.variables))

    def sampler(self, **options):
        """Return a sampler that notes when it places weights."""
        options = {"class_of": in_turn(self.game), **options}
        how = dataclasses.replace(self.sampling, batch_norm="ema")
        made = Sampler(self.game, seed=self.seed, batch_size=4, sampling=how, **options)
        inner = made.place
        made.place = lambda variables: [self.placed.append(self.seed), inner(variables)][1]
        return made


def reference(game, num, seed, *, truncation=None, **options):
    """Return samples as a run makes them."""
    options = options or {"class_of": in_turn(game)}
    how = Sampling(truncation=truncation)
    sampler = Sampler(game, seed=seed, batch_size=4, sampling=how, **options)
    return sampler.samples(sampler.place(game.variables), num)


@pytest.fixture(scope="module")
def live():
    return LiveSampler(Ask(Sprayer(num_classes=3)))


@pytest.mark.parametrize("num", [1, 6])
def test_samples_are_those_of_the_seed_with_their_noise(live, num):
    made = live(2**32 - 1, num)
    assert made.shape == (num, 8, 8, 1)
    agree(made, reference(live.ask.game, num, 2**32 - 1))
    assert live.labels(5, None).tolist() == [0, 1, 2, 0, 1]


def test_a_label_and_a_truncation_are_kept_to(live):
    given = {"label": 2, "truncation": 0.5}
    agree(live(7, 5, **given), reference(live.ask.game, 5, 7, **given))
    # 0 is a truncation, not none: all samples are the mean, but for their noise.
    agree(live(7, 5, truncation=0.0), reference(live.ask.game, 5, 7, truncation=0.0))
    assert live.labels(3, 2).tolist() == [2, 2, 2]


def test_latents_move_to_those_of_the_second_seed_and_noise_stays(live):
    game = live.ask.game
    agree(live(1, 3, second=2, share=0.0), live(1, 3))
    z = [live._sampler.latents(0, seed)[0] for seed in (1, 2)]
    noise = live(1, 3).astype(int) - stored(game, z[0])[:3]
    for share in (0.3, 1.0):
        middle = stored(game, interpolation.slerp(*z, share))[:3]
        moved = live(1, 3, second=2, share=share).astype(int) - middle
        open_range = (np.abs(middle - 128) < 60) & (np.abs(stored(game, z[0])[:3] - 128) < 60)
        assert open_range.any()
        assert np.abs(moved - noise)[open_range & (np.abs(noise) < 60)].max() <= 1


def stored(game, z):
    """Return pictures without noise, each class in turn, as levels."""
    condition = {"label": np.arange(len(z)) % 3}
    data = Painter.sample(game, game.variables, np.asarray(z, np.float32), condition)
    return np.asarray(np.rint((np.asarray(data) + 1) * 127.5)).astype(int)


def test_nothing_is_compiled_for_another_seed_number_label_or_place():
    live = LiveSampler(Ask(Sprayer(num_classes=3)))
    live(0, 1)
    before = live.ask.game.traces
    live(5, 9, label=1, second=6, share=0.5)
    live(6, 2)
    assert live.ask.game.traces == before
    live(6, 2, truncation=0.5)
    live(6, 2, truncation=0.7)
    assert live.ask.game.traces == before + 1


def test_the_configuration_truncates_where_nothing_is_given():
    game = Sprayer()
    live = LiveSampler(Ask(game, Sampling(truncation=0.5)))
    agree(live(3, 4), reference(game, 4, 3, truncation=0.5))
    agree(live(3, 4, truncation=2.0), reference(game, 4, 3, truncation=2.0))


@pytest.mark.parametrize(("batch_norm", "placed"), [("ema", [0]), ("standing", [5, 6])])
def test_weights_are_placed_once_but_for_statistics_of_a_seed(batch_norm, placed):
    live = LiveSampler(Ask(Sprayer(), Sampling(batch_norm)))
    for seed in (5, 5, 6):
        live(seed, 1)
    assert live.ask.placed == placed
