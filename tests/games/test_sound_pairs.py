"""The paired game on sounds: its losses, what its networks see, and what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import hifigan, segan
from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.data.degrade import make as degradation
from gan_jax.games.paired import PairedGame
from gan_jax.games.registry import make_game
from gan_jax.losses import adversarial
from gan_jax.training import translating
from tests.games import stub
from tests.training import tiny

SPEC = {"audio": specs.Field("audio", (16, 2), "int16", sample_rate=8_000)}
MONO = {"audio": specs.Field("audio", (32, 1), "int16", sample_rate=8_000)}


def enhancer(**fields):
    """Return a game whose generator halves noisy sounds and shifts them."""
    options = {
        "generator": stub.Affine(0.5, 0.1),
        "discriminator": None,
        "spec": SPEC,
        "loss": adversarial.make("least_squares"),
        "degradation": degradation("noise", snr=(5.0, 5.0)),
    }
    return PairedGame(**{**options, **fields})


def config():
    """Return SEGAN's smoke configuration with networks that compile quickly."""
    c = segan.get_config("smoke")
    for network in (c.generator.segan, c.discriminator.segan):
        network.features = (2, 3)
    return c


def test_the_generators_loss_is_that_of_the_samples():
    clean = 0.3 * stub.images((8, 16, 2))
    game = enhancer(pixel_weight=7.0)
    moment = stub.turn(game, {"audio": jnp.asarray(clean)})
    noisy = game.degradation(moment.keys("degrade"), jnp.asarray(clean)).input
    loss, _, outcome = stub.play(game, "generator", moment)
    expected = np.abs(0.5 * np.asarray(noisy) + 0.1 - clean).mean()
    assert float(outcome.metrics["pixel"]) == pytest.approx(expected, rel=1e-5)
    assert float(loss) == pytest.approx(7.0 * expected, rel=1e-5)


def test_the_discriminator_sees_the_noisy_sound_beside_the_other():
    game = make_game(config(), SPEC, None)
    assert game.directions["AtoB"].multiple == 4
    assert [x.shape for x in game.networks["generator"].inputs] == [(1, 16, 2)]
    assert [x.shape for x in game.networks["discriminator"].inputs] == [(1, 16, 4)]
    example = game.examples({"audio": jnp.ones((3, 16, 2))}, jax.random.split(jax.random.key(0), 3))
    assert example.known is None
    beside = game._seen(example, example.target)
    np.testing.assert_array_equal(beside[..., 2:], 1.0)
    np.testing.assert_array_equal(beside[..., :2], example.inputs)


def vocoder():
    """Return HiFi-GAN's smoke configuration, with spectrograms of 4 samples a frame."""
    c = hifigan.get_config("smoke")
    c.degrade.mel.update(window=32, hop=4, bands=4, highest=2_000.0)
    c.generator.hifigan.update(features=4, rates=(2, 2), kernels=(3,), dilations=(1,))
    c.discriminator.hifigan.update(periods=(2,), features=(2,))
    c.data.sound.update(sample_rate=8_000, samples=32)
    c.train.batch_size = 8
    return c


def test_a_vocoder_sees_spectrograms_and_is_judged_by_its_sounds():
    game = make_game(vocoder(), MONO, None)
    way = game.directions["AtoB"]
    assert (way.inputs, way.outputs, way.scale) == (4, 1, 4)
    assert [x.shape for x in game.networks["generator"].inputs] == [(1, 8, 4)]
    assert [x.shape for x in game.networks["discriminator"].inputs] == [(1, 32, 1)]
    assert game.degradation.sample_rate == 8_000
    clean = 0.3 * stub.images((8, 32, 1))
    moment = stub.turn(game, {"audio": jnp.asarray(clean)})
    value, gradient, outcome = stub.play(game, "generator", moment)

    @jax.jit
    def distance(variables, keys, sounds):
        mel = game.degradation.log_mel
        made = game.generator.apply(variables, game.degradation(keys, sounds).input)
        return jnp.mean(jnp.abs(mel(made) - mel(sounds)))

    expected = distance(moment.variables["generator"], moment.keys("degrade"), jnp.asarray(clean))
    assert float(outcome.metrics["pixel"]) == pytest.approx(float(expected), rel=1e-4)
    terms = {"pixel": 45.0, "adversarial": 3.0, "matching": 2.0}
    total = sum(weight * float(outcome.metrics[name]) for name, weight in terms.items())
    assert float(value) == pytest.approx(total, rel=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_vocoders_inputs_are_shown_as_sounds():
    game = make_game(vocoder(), MONO, None)
    batch = {"audio": np.round(9_000 * stub.images((2, 32, 1))).astype(np.int16)}
    variables = stub.turn(game, {"audio": jnp.zeros((2, 32, 1))}).variables
    translator = translating.Translator(game, "AtoB", batch_size=2, devices=jax.devices()[:1])
    found = translator(translator.place(variables), batch, seed=0)
    np.testing.assert_array_equal(found.targets, batch["audio"])
    of_sounds = jax.jit(lambda x: game.degradation.shown(game.degradation.log_mel(x, 2_000.0)))
    shown = np.asarray(of_sounds(batch["audio"] / np.float32(2**15)))
    np.testing.assert_allclose(found.inputs / 2**15, shown, atol=1e-3)
    assert found.outputs.shape == found.inputs.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"degrade.name": "noise"}, r"pixel = 'mel' compares .*'mel'; accepted without it: l1"),
        ({"degrade.mel.hop": 8}, r"rates = \(2, 2\), whose product is 4.* 8 times"),
        ({"degrade.mel.highest": 5e3}, r"degrade\.mel\.highest = 5000\.0; .*up to 4000 Hz"),
        ({"game.paired.conditional": True}, r"inputs are 4 times smaller.*accepted: False"),
        ({"generator.name": "segan"}, r"'segan' does not enlarge.*'hifigan' for sounds"),
        ({"game.paired.adversarial_weight": 0.0}, r"matching_weight = 2\.0 .*accepted: 0"),
    ],
)
def test_vocoders_that_cannot_work_are_refused(changes, message):
    c = vocoder()
    c.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=message):
        make_game(c, MONO, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"degrade.name": "gaussian"}, r"degrade\.name = 'gaussian' is for.*'image'.*: noise"),
        ({"game.paired.variation_weight": 0.5}, r"variation_weight = 0\.5, a term of images.*0"),
        ({"game.paired.perceptual.extractor": "inception"}, r"extractor = 'inception', a term of"),
        ({"generator.name": "unet"}, "data.name: unet is a network for images"),
        ({"discriminator.name": "patchgan"}, "data.name: patchgan is a network for images"),
        ({"generator.segan.features": (2,) * 5}, r"data\.sound\.samples: .*16 samples.*of 32"),
    ],
)
def test_what_suits_images_alone_is_refused(changes, message):
    c = config()
    c.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=message):
        make_game(c, SPEC, None)


def test_noise_of_sounds_is_refused_for_images_and_spectrograms_for_the_game():
    c = tiny.paired_config()
    c.degrade.name = "noise"
    with pytest.raises(errors.ConfigError, match=r"'noise' is for data of kind 'audio'.*gaussian"):
        make_game(c, specs.images((8, 8, 1)), None)
    field = specs.Field("spectrogram", (16, 1), "int16", sample_rate=8_000, stft=(8, 4))
    with pytest.raises(errors.ConfigError, match=r"accepted.*data\.spectrogram\.window = 0"):
        make_game(config(), {"audio": field}, None)


@pytest.mark.slow
def test_a_vocoder_whose_features_are_compared_trains_alike_on_eight_devices():
    c = tiny.sgd(vocoder(), 0.01)
    # The distance of spectrograms would outweigh that of features.
    c.game.paired.pixel_weight = 1.0
    chex.assert_trees_all_close(tiny.final(c, 8), tiny.final(c, 1), **tiny.TOLERANCE)
