"""The game of a generator in stages: its losses by hand, and who learns from what."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.games.registry import make_game
from gan_jax.layers.resample import mean_pool
from gan_jax.networks.stackgan import UNCONDITIONAL, separated
from tests.games import stub
from tests.training import tiny

# "red disc" and "disc the crimson" agree; "blue disc" and "red" do not.
TOKENS = jnp.array([[2, 5, 0], [5, 1, 3], [4, 5, 0], [2, 0, 0]])


@functools.cache
def started():
    """Return a game whose weights differ, and a turn with `TOKENS`."""
    config = tiny.stacked_config()
    config.game.stacked.update(unconditional_weight=0.5, kl_weight=3.0)
    config.terms.matching.mismatched = 0.25
    game = make_game(config, tiny.spec(config), None)
    images = jnp.asarray(stub.images((4, 8, 8, 1)))
    turn = stub.turn(game, {"image": images, "label": TOKENS})
    return game, turn


def softplus(x):
    return np.logaddexp(0.0, x)


@functools.cache
def verdicts():
    """Return the verdicts on real images, on these with their partners' captions, and on fakes."""
    game, turn = started()

    @jax.jit
    def compute():
        z, keys = game.latents(turn.keys("latent")), turn.keys("generator")
        own = turn.variables["generator"]
        images = game.generator.apply(own, z, turn.condition, keys=keys, method="images")
        fine = jnp.asarray(turn.batch["image"])
        views = {"real": (mean_pool(fine), fine), "fake": images}
        swapped = {"label": TOKENS[jnp.array([1, 0, 3, 2])]}
        conditions = {"real": turn.condition, "wrong": swapped, "fake": turn.condition}
        found = {}
        for name, condition in conditions.items():
            coarse, fine = views["fake" if name == "fake" else "real"]
            x = jnp.concatenate([fine, coarse.repeat(2, axis=1).repeat(2, axis=2)], axis=-1)
            found[name] = stub.verdict(game, turn, x, condition)
        return found

    return jax.device_get(compute())


def test_real_images_of_the_coarse_stage_are_means():
    game, turn = started()
    coarse, fine = separated(game.data(turn), 1, 2)
    np.testing.assert_array_equal(fine, turn.batch["image"])
    means = np.asarray(turn.batch["image"]).reshape(4, 4, 2, 4, 2, 1).mean((2, 4))
    np.testing.assert_allclose(coarse, means, rtol=1e-5, atol=1e-6)


def test_the_discriminator_tells_pairs_images_and_captions_of_others_at_each_stage():
    game, turn = started()
    real, wrong, fake = (verdicts()[name] for name in ("real", "wrong", "fake"))
    conditional = (softplus(-real.scores) + softplus(fake.scores)).mean()
    plain = {name: verdicts()[name].heads[UNCONDITIONAL] for name in ("real", "fake")}
    unconditional = (softplus(-plain["real"]) + softplus(plain["fake"])).mean()
    # Only captions of the second pair differ: 2 of 4 images, at both stages.
    change = softplus(wrong.scores) - softplus(fake.scores)
    matching = 0.25 * change[2:].sum() / 8
    assert abs(matching) > 1e-4
    loss, outcome = stub.loss(game, "discriminator", turn)
    assert outcome.metrics.keys() >= {"adversarial", "unconditional", "matching"}
    expected = {"adversarial": conditional, "unconditional": unconditional, "matching": matching}
    for name, value in expected.items():
        np.testing.assert_allclose(outcome.metrics[name], value, rtol=1e-4)
    np.testing.assert_allclose(loss, conditional + 0.5 * unconditional + matching, rtol=1e-4)


def test_the_generator_pays_for_the_divergence_of_its_condition():
    torch = pytest.importorskip("torch")
    game, turn = started()
    mean, log_variance = game.generator.apply(
        turn.variables["generator"], turn.condition, method="statistics"
    )
    scale = torch.tensor(np.exp(0.5 * np.asarray(log_variance)))
    own = torch.distributions.Normal(torch.tensor(np.asarray(mean)), scale)
    standard = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(own, standard).mean().item()
    fake = verdicts()["fake"]
    adversarial = softplus(-fake.scores).mean()
    unconditional = softplus(-fake.heads[UNCONDITIONAL]).mean()
    loss, outcome = stub.loss(game, "generator", turn)
    chex.assert_trees_all_close(float(outcome.metrics["kl"]), kl, rtol=1e-4)
    chex.assert_trees_all_close(
        float(loss), adversarial + 0.5 * unconditional + 3.0 * kl, rtol=1e-4
    )


@pytest.mark.slow
def test_both_stages_of_both_networks_learn():
    game, turn = started()
    for name in ("discriminator", "generator"):
        _, gradient, _ = stub.play(game, name, turn)
        for path, leaf in jax.tree.leaves_with_path(gradient[name]):
            assert np.isfinite(leaf).all()
            assert np.any(leaf), jax.tree_util.keystr(path)


def test_without_captions_there_is_one_score_and_no_divergence():
    config = tiny.stacked_config()
    config.generator.conditioning = config.discriminator.conditioning = "none"
    config.terms.matching.weight = 0.0
    game, turn = stub.begin(config, (8, 8, 1), None, batch=4)
    outcome = jax.eval_shape(lambda: stub.loss(game, "generator", turn)[1])
    assert set(outcome.metrics) == {"adversarial"}
    assert not game.terms


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"generator.name": "dfgan"}, "generator.name = 'dfgan'; accepted for game.name = 'stack"),
        ({"discriminator.name": "dcgan"}, "discriminator.name = 'dcgan'; accepted"),
        ({"generator.stackgan.stages": 1}, "discriminator.stackgan.stages = 2; accepted: the same"),
        ({"fakes.history": 8}, "fakes.history = 8; accepted for game.name = 'stacked'"),
        ({"terms.transport.weight": 1.0}, "terms.transport.weight = 1.0; accepted for game.name"),
        ({"game.stacked.kl_weight": -1.0}, "game.stacked.kl_weight = -1.0; accepted: 0 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields, message):
    config = tiny.stacked_config()
    config.update_from_flattened_dict(fields)
    assert message in stub.refusal(config, tiny.spec(config))
