"""The losses of pix2pix and restoration by hand: holes, degraded images, further terms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.data.degrade import make
from gan_jax.games.paired import PairedGame
from gan_jax.games.registry import make_game
from gan_jax.games.terms import GradientPenalty
from gan_jax.games.translation import (
    A_TO_B,
    TranslationGame,
    as_translation,
    choose_direction,
    paste,
)
from gan_jax.losses import adversarial, penalties
from gan_jax.metrics import extractors
from gan_jax.metrics.extractor import Extractor
from tests.games import stub
from tests.games.paired_games import ALONE, BESIDE, holes, pairs
from tests.training import tiny


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("pixel", ["l1", "charbonnier"])
def test_both_losses_are_those_of_the_paper(pixel, conditional):
    """Every score of the map counts as one; means over pixels; each term at its weight."""
    game = pairs(
        conditional,
        pixel=pixel,
        pixel_weight=7.0,
        adversarial_weight=0.5,
        discriminator_weight=0.25,
    )
    batch = stub.images((3, 4, 6, 4))
    x, y = batch[..., :2], batch[..., 2:]
    made = 0.5 * x + 0.1
    weights = BESIDE if conditional else ALONE

    def judged(images):
        seen = np.concatenate([x, images], -1) if conditional else images
        return stub.scores(seen, weights, 0.25)

    moment = stub.turn(game, batch)
    value, outcome = stub.loss(game, "discriminator", moment)
    expected = (softplus(-judged(y)) + softplus(judged(made))).mean()
    np.testing.assert_allclose(outcome.metrics["adversarial"], expected, rtol=1e-5)
    np.testing.assert_allclose(value, 0.25 * expected, rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["real_score"], judged(y).mean(), rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["fake_score"], judged(made).mean(), rtol=1e-5)

    error = np.abs(made - y) if pixel == "l1" else np.sqrt((made - y) ** 2 + 1e-6)
    fooled = softplus(-judged(made)).mean()
    value, gradient, outcome = stub.play(game, "generator", moment)
    np.testing.assert_allclose(outcome.metrics["pixel"], error.mean(), rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["adversarial"], fooled, rtol=1e-5)
    np.testing.assert_allclose(value, 7.0 * error.mean() + 0.5 * fooled, rtol=1e-5)
    assert set(outcome.metrics) == {"pixel", "adversarial"}
    # By the offset: the mean slope of the pixels' errors, and of the scores' entropies.
    slope = np.sign(made - y) if pixel == "l1" else (made - y) / error
    entropy = -1.0 / (1.0 + np.exp(judged(made))) * sum(ALONE)
    by_offset = 7.0 * slope.mean() + 0.5 * entropy.mean()
    np.testing.assert_allclose(gradient["generator"]["offset"], by_offset, rtol=1e-4)


@pytest.mark.parametrize("conditional", [True, False])
def test_features_of_made_images_are_matched_to_those_of_targets(conditional):
    game = pairs(conditional, pixel_weight=0.0, matching_weight=3.0)
    batch = stub.images((3, 4, 6, 4))
    x, y = batch[..., :2], batch[..., 2:]
    seen = [np.concatenate([x, z], -1) if conditional else z for z in (0.5 * x + 0.1, y)]
    means = [z.reshape(3, 2, 2, 3, 2, -1).mean((2, 4)) for z in seen]
    expected = np.abs(seen[0] - seen[1]).mean() + np.abs(means[0] - means[1]).mean()
    value, _, outcome = stub.play(game, "generator", stub.turn(game, batch))
    np.testing.assert_allclose(outcome.metrics["matching"], expected, rtol=1e-5)
    fooled = outcome.metrics["adversarial"]
    np.testing.assert_allclose(value, 3.0 * expected + fooled, rtol=1e-5)
    waiting = dataclasses.replace(game, content_steps=2)
    _, _, outcome = stub.play(waiting, "generator", stub.turn(waiting, batch, count=1))
    assert outcome.metrics["matching"] == 0.0


def test_a_loss_that_compares_with_real_images_gets_their_scores():
    game = pairs(loss=adversarial.make("relativistic_pairing"), pixel_weight=0.0)
    batch = stub.images((3, 4, 6, 4))
    x, y = batch[..., :2], batch[..., 2:]
    real = stub.scores(np.concatenate([x, y], -1), BESIDE, 0.25)
    fake = stub.scores(np.concatenate([x, 0.5 * x + 0.1], -1), BESIDE, 0.25)
    value = stub.loss(game, "generator", stub.turn(game, batch))[0]
    np.testing.assert_allclose(value, softplus(real - fake).mean(), rtol=1e-5)


def test_the_discriminator_leaves_the_generator_alone_and_the_other_way_round():
    game = pairs()
    moment = stub.turn(game, stub.images((3, 4, 6, 4)))
    for name in ("discriminator", "generator"):
        gradient = stub.play(game, name, moment)[1]
        assert set(gradient) == {name}
        assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(gradient))


def test_dropout_is_drawn_in_both_turns_and_in_no_translation():
    game = pairs(generator=stub.Affine(noise=0.5), discriminator=stub.Patches(BESIDE))
    batch = np.concatenate([np.zeros((3, 4, 6, 2)), np.ones((3, 4, 6, 2))], -1).astype(np.float32)
    moment = stub.turn(game, batch)
    noise = jax.vmap(lambda key: jax.random.normal(key, (4, 6, 2)))(moment.keys("dropout"))
    pixel = stub.loss(game, "generator", moment)[1].metrics["pixel"]
    np.testing.assert_allclose(pixel, np.abs(0.5 * noise - 1.0).mean(), rtol=1e-5)
    fake = stub.loss(game, "discriminator", moment)[1].metrics["fake_score"]
    expected = stub.scores(np.asarray(0.5 * noise), ALONE).mean()
    np.testing.assert_allclose(fake, expected, rtol=1e-4)
    still = game.translate(moment.variables, moment.batch["a"])
    np.testing.assert_array_equal(still, batch[..., :2])
    keys = jax.random.split(jax.random.key(0), 3)
    assert np.abs(game.translate(moment.variables, moment.batch["a"], keys=keys)).max() > 0.1


def test_translations_stay_in_range():
    game = pairs(generator=stub.Affine(3.0, 0.5))
    batch = stub.images((3, 4, 6, 4))
    variables = stub.turn(game, batch).variables
    made = game.translate(variables, jnp.asarray(batch[..., :2]))
    np.testing.assert_allclose(made, np.clip(3.0 * batch[..., :2] + 0.5, -1, 1), rtol=1e-6)


def test_pairs_in_the_data_are_halves_of_the_channels():
    game = pairs()
    batch = jnp.asarray(stub.images((3, 4, 6, 4)))
    example = game.examples(
        stub.fields(game, batch), jax.random.split(jax.random.key(0), 3), A_TO_B
    )
    np.testing.assert_array_equal(example.inputs, batch[..., :2])
    np.testing.assert_array_equal(example.target, batch[..., 2:])
    assert example.known is None
    assert game.image_shape == (4, 6, 2)
    (direction,) = game.directions.values()
    assert (direction.inputs, direction.outputs, direction.scale) == (2, 2, 1)
    assert isinstance(game, TranslationGame)
    assert choose_direction(game, None) == A_TO_B
    with pytest.raises(errors.ConfigError, match="direction = 'BtoA' is unknown; accepted: AtoB"):
        choose_direction(game, "BtoA")
    with pytest.raises(errors.ConfigError, match="what is for runs that translate"):
        as_translation(object(), "what")


# --- Degraded images. -----------------------------------------------------------------------------


def test_what_is_known_comes_out_bit_for_bit():
    game = holes()
    batch = jnp.asarray(stub.images((3, 4, 6, 2)))
    example = game.examples(stub.fields(game, batch), jax.random.split(jax.random.key(0), 3))
    variables = stub.turn(game, batch).variables
    made = game.translate(variables, example.inputs, known=example.known)
    np.testing.assert_array_equal(made[:, :, 3:], batch[:, :, 3:])
    # In the hole it is the generator's: half of what fills it, and a bit.
    np.testing.assert_allclose(made[:, :, :3], 0.5 * -0.5 + 0.1, rtol=1e-6)
    assert bool((paste(made, batch, None) == made).all())
    (direction,) = game.directions.values()
    assert (direction.inputs, direction.masked) == (2, True)
    # The mask is a channel more of what the generator sees.
    assert game.networks["generator"].inputs[0].shape == (1, 4, 6, 3)
    assert game.networks["discriminator"].inputs[0].shape == (1, 4, 6, 2)


def test_the_discriminator_is_shown_holes_that_are_filled():
    game = holes(adversarial_weight=2.0, pixel_weight=0.0)
    batch = stub.images((3, 4, 6, 2))
    filled = batch.copy()
    filled[:, :, :3] = 0.5 * -0.5 + 0.1
    judged = stub.scores(filled, ALONE)
    moment = stub.turn(game, batch)
    outcome = stub.loss(game, "discriminator", moment)[1]
    np.testing.assert_allclose(outcome.metrics["fake_score"], judged.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        outcome.metrics["real_score"], stub.scores(batch, ALONE).mean(), rtol=1e-5
    )
    value = stub.loss(game, "generator", moment)[0]
    np.testing.assert_allclose(value, 2.0 * softplus(-judged).mean(), rtol=1e-5)


@pytest.mark.parametrize("known_weight", [0.0, 0.25])
def test_known_pixels_weigh_less_than_those_in_the_hole(known_weight):
    game = holes(known_weight=known_weight, pixel_weight=1.0, adversarial_weight=0.0)
    game = dataclasses.replace(game, discriminator=None)
    batch = stub.images((3, 4, 6, 2))
    inputs = batch.copy()
    inputs[:, :, :3] = -0.5
    error = np.abs(0.5 * inputs + 0.1 - batch)
    hole, known = error[:, :, :3].mean((1, 2, 3)), error[:, :, 3:].mean((1, 2, 3))
    expected = ((hole + known_weight * known) / (1 + known_weight)).mean()
    value = stub.loss(game, "generator", stub.turn(game, batch))[0]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("known_weight", [0.0, 0.25])
def test_total_variation_is_of_what_will_be_seen(known_weight):
    """That is the picture with its known pixels, unless the generator learns these, too."""
    game = holes(
        known_weight=known_weight, pixel_weight=0.0, variation_weight=3.0, discriminator=None
    )
    batch = stub.images((3, 4, 6, 2))
    made = batch.copy()
    made[:, :, :3] = -0.5
    made = 0.5 * made + 0.1
    if not known_weight:
        made[:, :, 3:] = batch[:, :, 3:]
    total = np.abs(np.diff(made, axis=1)).sum() + np.abs(np.diff(made, axis=2)).sum()
    value, outcome = stub.loss(game, "generator", stub.turn(game, batch))
    np.testing.assert_allclose(outcome.metrics["variation"], total / made.size, rtol=1e-5)
    np.testing.assert_allclose(value, 3.0 * total / made.size, rtol=1e-5)


def test_smaller_inputs_are_of_the_same_image():
    game = PairedGame(
        generator=stub.Affine(factor=2),
        discriminator=stub.Patches((1.0,)),
        spec=specs.images((8, 8, 1)),
        loss=adversarial.make("hinge"),
        degradation=make("downsample", factor=2),
        conditional=False,
        pixel_weight=1.0,
        adversarial_weight=0.0,
    )
    assert game.networks["generator"].inputs[0].shape == (1, 4, 4, 1)
    assert game.directions[A_TO_B].scale == 2
    batch = np.ones((3, 8, 8, 1), np.float32) * np.float32([-1.0, 0.0, 1.0])[:, None, None, None]
    moment = stub.turn(game, batch)
    outcome = stub.loss(game, "generator", moment)[1]
    np.testing.assert_allclose(outcome.metrics["pixel"], 0.0, atol=0.003)  # rounded to bytes
    made = game.translate(moment.variables, moment.batch["image"][:, ::2, ::2])
    np.testing.assert_array_equal(made, batch)


def test_inputs_are_degraded_and_targets_are_not():
    game = PairedGame(
        generator=stub.Affine(),
        discriminator=None,
        spec=specs.images((4, 4, 1)),
        loss=adversarial.make("hinge"),
        degradation=make("gaussian", sigma=(25.0, 25.0), clip=False),
        pixel="l2",
        pixel_weight=1.0,
    )
    batch = np.zeros((64, 4, 4, 1), np.float32)
    found = stub.loss(game, "generator", stub.turn(game, batch))[0]
    # The identity leaves all of the noise.
    np.testing.assert_allclose(found, (25.0 / 127.5) ** 2, rtol=0.15)


# --- Further terms. -------------------------------------------------------------------------------


@pytest.fixture
def doubled(monkeypatch):
    """Register an extractor that says twice, and thrice, what the mean grey of an image is."""

    def apply(factor, values, layers):
        mean = values.mean((1, 2, 3))[:, None] / 127.5 - 1.0
        features = {"2": 2.0 * mean, "3": factor * mean}
        return {layer: features[layer] for layer in layers}

    def made(setting):
        widths = {"2": 1, "3": 1}
        return Extractor("doubled", widths, "2", None, jnp.float32(3.0), apply, {}, apply)

    monkeypatch.setitem(extractors.EXTRACTORS, "doubled", made)


@pytest.mark.parametrize(("layers", "factor"), [((), 4.0), (("3",), 9.0), (("2", "3"), 6.5)])
def test_features_of_an_extractor_may_be_compared(doubled, layers, factor):
    config = tiny.paired_config()
    config.degrade.name = "none"
    config.data.pairing = "twins"
    config.game.paired.perceptual.update(extractor="doubled", layers=layers, weight=10.0)
    game = make_game(config, specs.pairs((8, 8, 1)), None)
    game = dataclasses.replace(
        game, generator=stub.Affine(0.5, 0.1), discriminator=None, pixel_weight=0.0
    )
    batch = stub.images((3, 8, 8, 2))
    made, wanted = 0.5 * batch[..., :1] + 0.1, batch[..., 1:]
    squares = (made.mean((1, 2, 3)) - wanted.mean((1, 2, 3))) ** 2
    value, gradient, outcome = stub.play(game, "generator", stub.turn(game, batch))
    np.testing.assert_allclose(outcome.metrics["perceptual"], factor * squares.mean(), rtol=1e-4)
    np.testing.assert_allclose(value, 10.0 * factor * squares.mean(), rtol=1e-4)
    slope = 20.0 * factor * (made.mean() - wanted.mean())
    np.testing.assert_allclose(gradient["generator"]["offset"], slope, rtol=1e-3)


def test_a_negative_weight_of_features_is_refused(doubled):
    config = tiny.paired_config()
    config.game.paired.perceptual.update(extractor="doubled", weight=-1.0)
    with pytest.raises(errors.ConfigError, match=r"game\.paired\.perceptual\.weight = -1\.0"):
        make_game(config, specs.images((8, 8, 1)), None)


@pytest.mark.parametrize("conditional", [True, False])
def test_the_penalty_is_on_the_mean_score(conditional):
    """Of a linear discriminator the gradient is the same everywhere: weight over pixels."""
    game = pairs(
        conditional,
        discriminator_weight=0.5,
        terms={"penalty": GradientPenalty(8.0, 2, penalty=penalties.make("r1"))},
    )
    batch = stub.images((3, 4, 6, 4))
    weights = np.asarray(BESIDE if conditional else ALONE)
    expected = 0.5 * (weights**2).sum() / (4 * 6)
    for count, share in ((0, 2.0), (1, 0.0)):
        value, gradient, outcome = stub.play(
            game, "discriminator", stub.turn(game, batch, count=count)
        )
        np.testing.assert_allclose(outcome.metrics["penalty"], share * expected, rtol=1e-5)
        loss = 0.5 * outcome.metrics["adversarial"] + 8.0 * share * expected
        np.testing.assert_allclose(value, loss, rtol=1e-5)
        assert np.isfinite(gradient["discriminator"]["weights"]).all()
