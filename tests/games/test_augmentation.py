"""Augmentations in the adversarial game: what is shown, gradients, memory on all devices."""

import dataclasses
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import augment
from gan_jax.augment import diffaug, instance_noise
from gan_jax.augment.augmentation import Augmentation
from gan_jax.data import spec as specs
from gan_jax.games import draws
from gan_jax.runs import loop
from gan_jax.runs.run import open_run
from tests.games import stub
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("shared_steps")

SHAPE = (4, 4, 1)
POLICY = ("color", "translation", "cutout")


def played(player, count=0, **fields):
    """Return the game, the turn, the gradient and the outcome of a turn on images."""
    config = tiny.point_config()
    config.update_from_flattened_dict(fields)
    game, turn = stub.begin(config, SHAPE, batch=8, count=count)
    return game, turn, *stub.play(game, player, turn)[1:]


@pytest.mark.slow
def test_the_discriminator_is_shown_augmented_images_of_both_kinds():
    game, turn, _, outcome = played("discriminator", **{"augment.diffaug.policy": POLICY})
    for kind, images in (("real", game.data(turn)), ("fake", stub.generated(game, turn))):
        shown = diffaug.diff_augment(turn.keys(f"augment/{kind}"), images, POLICY)
        expected, plain = (stub.verdict(game, turn, x).scores.mean() for x in (shown, images))
        np.testing.assert_allclose(outcome.metrics[f"{kind}_score"], expected, rtol=1e-4)
        assert abs(expected - plain) > 1e-5


@pytest.mark.slow
def test_the_generators_gradient_passes_through_the_augmentation():
    plain, augmented = (
        jax.tree.leaves(played("generator", **{"augment.diffaug.policy": policy})[2])
        for policy in ((), POLICY)
    )
    chex.assert_tree_all_finite(augmented)
    assert all(np.abs(leaf).max() > 0 for leaf in augmented)
    assert all((a != b).any() for a, b in zip(plain, augmented, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("count", "level"), [(5, 0.2), (20, 0.0)])
def test_instance_noise_fades(count, level):
    fields = {"augment.noise.deviation": 0.4, "augment.noise.steps": 10}
    game, turn, _, outcome = played("discriminator", count, **fields)
    shown = instance_noise.add_noise(turn.keys("noise/real"), game.data(turn), level)
    expected = stub.verdict(game, turn, shown).scores.mean()
    np.testing.assert_allclose(outcome.metrics["real_score"], expected, rtol=1e-4)


@dataclasses.dataclass(frozen=True)
class Adaptive(Augmentation):
    """A shift whose size follows the share of real data that the discriminator recognises."""

    rate: float = 0.0

    draws: ClassVar[str] = "adaptive"

    @property
    def enabled(self):
        return self.rate > 0

    def init(self):
        return jnp.float32(0.25)

    def __call__(self, keys, x, memory, step):
        return x + memory * jax.vmap(jax.random.normal)(keys)[:, None]

    def update(self, memory, real, fake, axis_name):
        signs = jnp.mean(jnp.sign(jax.lax.stop_gradient(real)))
        if axis_name is not None:
            signs = jax.lax.pmean(signs, axis_name)
        return jnp.clip(memory + self.rate * jnp.sign(signs - 0.6), 0.0, 1.0)


@pytest.fixture
def adaptive(monkeypatch):
    """Return a function that makes a configuration of points with that augmentation."""
    monkeypatch.setitem(augment.AUGMENTATIONS, "adaptive", Adaptive)

    def make():
        config = tiny.sgd(tiny.point_config())
        config.augment.adaptive.rate = 0.125
        return config

    return make


def test_the_strength_of_ada_is_logged_as_it_is_after_the_step():
    fields = {"policy": ("blit",), "strength": 0.5, "interval": 1, "ramp": 80.0}
    _, turn, _, outcome = played(
        "discriminator", **{f"augment.ada.{k}": v for k, v in fields.items()}
    )
    assert turn.memory["augment/ada"].strength == 0.5
    made = outcome.memory["augment/ada"]
    up = outcome.metrics["ada_sign"] > 0.6
    np.testing.assert_allclose(made.strength, 0.6 if up else 0.4, rtol=1e-6)
    assert outcome.metrics["ada_strength"] == made.strength


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_apa_shows_other_fakes_as_real_and_lets_the_generator_alone(strength):
    config = tiny.conditional_config()
    fields = {"limit": 1.0, "strength": strength, "interval": 1, "ramp": 160.0}
    config.augment.apa.update(fields)
    game, turn = stub.begin(config, (8, 8, 1))
    _, outcome = stub.loss(game, "discriminator", turn)
    own = dataclasses.replace(turn, key=draws.named(turn.key, "apa"))
    replaced = jax.vmap(lambda key: jax.random.bernoulli(key, strength))(own.keys("replaced"))
    others = stub.generated(game, own)
    assert np.abs(others - stub.generated(game, turn)).max() > 0.01
    shown = jnp.where(replaced[:, None, None, None], others, game.data(turn))
    scores = stub.verdict(game, turn, shown, turn.condition).scores
    np.testing.assert_allclose(outcome.metrics["real_score"], scores.mean(), rtol=1e-4)
    memory = outcome.memory["augment/apa"]
    np.testing.assert_allclose(memory.sign, np.sign(scores).mean(), atol=1e-6)
    up = np.sign(scores).mean() > 0.6
    np.testing.assert_allclose(memory.strength, max(0.0, strength + (0.1 if up else -0.1)))
    plain = dataclasses.replace(game, augment={})
    expected = stub.loss(plain, "generator", turn)[0]
    assert stub.loss(game, "generator", turn)[0] == expected


def test_an_augmentation_with_memory_is_played_with_it(adaptive):
    game, turn = stub.begin(adaptive())
    assert turn.memory["augment/adaptive"] == 0.25
    _, outcome = stub.loss(game, "discriminator", turn)
    noise = jax.vmap(jax.random.normal)(turn.keys("adaptive/real"))
    scores = stub.verdict(game, turn, game.data(turn) + 0.25 * noise[:, None]).scores
    np.testing.assert_allclose(outcome.metrics["real_score"], scores.mean(), rtol=1e-4)
    up = np.sign(scores).mean() > 0.6
    assert outcome.memory["augment/adaptive"] == (0.375 if up else 0.125)
    assert "augment/adaptive" not in stub.loss(game, "generator", turn)[1].memory


@pytest.mark.slow
def test_memories_of_terms_and_augmentations_are_the_same_on_all_devices(adaptive):
    config = adaptive()
    config.terms.lecam.weight = 0.1
    config.fakes.history = 20
    config.augment.apa.update(limit=1.0, strength=0.5, interval=1, ramp=320.0)
    one = tiny.final(config, 1)
    assert one.game["augment/adaptive"] != 0.25
    assert one.game["augment/apa"].strength != 0.5
    chex.assert_trees_all_close(tiny.final(config, 2), one, **tiny.TOLERANCE)


@pytest.mark.slow
def test_memories_are_resumed_bit_for_bit(adaptive, tmp_path, monkeypatch):
    config = adaptive()
    config.terms.lecam.weight = 0.1
    config.train.update(steps=4, log_every=2, checkpoint_every=100, sample_every=100)
    assert loop.train(config, tmp_path / "whole").state == "done"
    tiny.stop_at(monkeypatch, 3)
    assert loop.train(config, tmp_path / "parts").state == "preempted"
    tiny.stop_at(monkeypatch, None)
    assert loop.train(config, tmp_path / "parts").state == "done"
    whole, parts = (open_run(tmp_path / name).state() for name in ("whole", "parts"))
    assert set(whole.game) == {"lecam", "augment/adaptive"}
    assert whole.game["augment/adaptive"] != 0.25
    assert whole.game["lecam"].real != 0
    assert tiny.bits(whole) == tiny.bits(parts)


def test_what_cannot_work_is_refused():
    config = tiny.point_config()
    config.augment.diffaug.policy = ("color",)
    assert "augment.diffaug.policy = ('color',) is for images" in stub.refusal(
        config, specs.points()
    )
    config.augment.diffaug.policy = ("colour",)
    assert "augment.diffaug.policy = ('colour',); accepted" in stub.refusal(
        config, specs.images(SHAPE)
    )
