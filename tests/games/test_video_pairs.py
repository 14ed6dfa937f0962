"""The paired game on videos: its losses, what its networks see, and what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import predict
from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.data.degrade import make as degradation
from gan_jax.games.paired import PairedGame
from gan_jax.games.registry import make_game
from gan_jax.losses import adversarial, reconstruction
from gan_jax.training import translating
from tests.games import stub
from tests.training import tiny

SPEC = {"video": specs.Field("video", (5, 4, 4, 2), "uint8")}
CLEAN = stub.images((8, 5, 4, 4, 2))


def predictor(**fields):
    """Return a game whose generator halves frames that stand still and shifts them."""
    options = {
        "generator": stub.Affine(0.5, 0.1, outputs=10),
        "discriminator": stub.Patches(tuple(range(1, 11)), 0.3),
        "spec": SPEC,
        "loss": adversarial.make("non_saturating"),
        "degradation": degradation("freeze", context=3),
        "conditional": False,
    }
    return PairedGame(**{**options, **fields})


def config():
    """Return the smoke configuration with networks that compile quickly."""
    c = predict.get_config("smoke")
    c.generator.unet.update(levels=1, features=3, stem=2, output="residual")
    c.discriminator.update(name="patchgan")
    c.discriminator.patchgan.update(features=2, layers=0, normalization="none")
    c.degrade.freeze.context = 3
    c.data.update(resolution=4, channels=2)
    c.data.video.frames = 5
    c.train.batch_size = 8
    return c


def frozen(clean):
    return clean[:, [0, 1, 2, 2, 2]]


def continued(clean):
    """Return what the predictor makes: given frames, and two predictions."""
    return np.concatenate([clean[:, :3], 0.5 * clean[:, [2, 2]] + np.float32(0.1)], axis=1)


def by_channel(videos):
    """Return the frames of each channel as the channels of an image."""
    return np.moveaxis(videos, 1, -1).reshape(*videos.shape[:1], 4, 4, 10)


def test_the_generators_loss_is_that_of_the_unknown_frames():
    game = predictor(pixel_weight=7.0, gradient_weight=5.0, adversarial_weight=0.5)
    moment = stub.turn(game, {"video": jnp.asarray(CLEAN)})
    loss, outcome = stub.loss(game, "generator", moment)
    made, clean = continued(CLEAN)[:, 3:], CLEAN[:, 3:]
    pixel = np.abs(made - clean).mean()
    gradient = float(reconstruction.gradient_difference(made, clean).mean())
    scores = stub.scores(by_channel(continued(CLEAN)), range(1, 11), 0.3)
    judged = np.log1p(np.exp(-scores)).mean()
    expected = {"pixel": pixel, "gradient": gradient, "adversarial": judged}
    for name, value in expected.items():
        assert float(outcome.metrics[name]) == pytest.approx(value, rel=1e-4), name
    total = 7.0 * pixel + 5.0 * gradient + 0.5 * judged
    assert float(loss) == pytest.approx(total, rel=1e-4)


def test_the_discriminator_sees_whole_videos_whose_first_frames_are_the_given_ones():
    game = predictor(discriminator_weight=2.0)
    moment = stub.turn(game, {"video": jnp.asarray(CLEAN)})
    loss, _ = stub.loss(game, "discriminator", moment)
    real, fake = (
        stub.scores(by_channel(videos), range(1, 11), 0.3) for videos in (CLEAN, continued(CLEAN))
    )
    expected = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()
    assert float(loss) == pytest.approx(2.0 * expected, rel=1e-4)


def test_networks_are_made_for_frames_as_channels():
    game = make_game(config(), SPEC, None)
    assert (game.directions["AtoB"].inputs, game.directions["AtoB"].outputs) == (2, 2)
    # Five frames of two channels, and which of them are known.
    assert [x.shape for x in game.networks["generator"].inputs] == [(1, 4, 4, 15)]
    assert [x.shape for x in game.networks["discriminator"].inputs] == [(1, 4, 4, 10)]
    beside = config()
    beside.game.paired.conditional = True
    networks = make_game(beside, SPEC, None).networks
    assert [x.shape for x in networks["discriminator"].inputs] == [(1, 4, 4, 20)]


def test_before_training_a_residual_predicts_the_last_given_frame_of_stored_videos():
    game = make_game(config(), SPEC, None)
    variables = stub.turn(game, {"video": jnp.asarray(CLEAN)}).variables
    stored = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 4, 2), np.uint8)
    translator = translating.Translator(game, "AtoB", batch_size=3, devices=jax.devices()[:1])
    found = translator(translator.place(variables), {"video": stored}, seed=0)
    np.testing.assert_array_equal(found.targets, stored)
    np.testing.assert_array_equal(found.inputs, frozen(stored))
    np.testing.assert_array_equal(found.outputs, frozen(stored))
    # Their size is that of the data: nothing is cut off, also of a number of frames that is odd.
    assert translating.fitting({"video": stored}, game)["video"] is stored


def test_the_next_frames_are_predicted_from_the_given_ones_alone():
    game = predictor(discriminator=None)
    variables = stub.turn(game, {"video": jnp.asarray(CLEAN)}).variables
    stored = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 2), np.uint8)
    found = np.asarray(translating.video_network(game, variables)(stored))
    expected = np.round(127.5 * (0.5 * (stored[2] / 127.5 - 1) + 0.1 + 1))
    np.testing.assert_allclose(found, np.stack([expected, expected]), atol=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"degrade.freeze.context": 5}, r"context = 5, but videos have 5 frames.*: 1 to 4"),
        ({"degrade.name": "gaussian"}, r"degrade\.name = 'gaussian' is for.*'video'.*: freeze"),
        ({"game.paired.variation_weight": 0.5}, r"variation_weight = 0\.5, a term of images.*0"),
        ({"game.paired.pixel": "mel"}, r"pixel = 'mel' compares .*'mel'; accepted"),
        ({"generator.unet.levels": 3}, r"data\.resolution = 4x4 .*levels = 3"),
        ({"generator.name": "segan"}, r"generator.name = 'segan' is no .*images.* as unet$"),
        ({"discriminator.name": "videogan"}, r"'videogan' is no .*images.* as channels, .* dcgan$"),
    ],
)
def test_what_does_not_suit_videos_is_refused(changes, message):
    c = config()
    c.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=message):
        make_game(c, SPEC, None)


def test_the_gradient_difference_is_refused_for_sounds():
    c = config()
    c.degrade.name = "noise"
    c.generator.name = c.discriminator.name = "segan"
    sound = {"audio": specs.Field("audio", (32, 1), "int16", sample_rate=8_000)}
    with pytest.raises(errors.ConfigError, match=r"gradient_weight = 1\.0, .*'audio'; .*: 0\.0"):
        make_game(c, sound, None)


@pytest.mark.slow
def test_eight_devices_equal_one():
    c = tiny.sgd(config())
    # Both players' shares are tested with images; here are those of masked frames.
    c.game.paired.adversarial_weight = 0.0
    chex.assert_trees_all_close(tiny.final(c, 8), tiny.final(c, 1), **tiny.TOLERANCE)
