"""Players of pix2pix and restoration: which take steps, and when; refused configurations."""

import itertools

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.games.game import owner_steps
from gan_jax.games.registry import make_game
from gan_jax.runs import build
from gan_jax.training import step
from gan_jax.training.ema import EMA
from tests.games import stub
from tests.games.paired_games import holes, pairs
from tests.training import tiny

# --- The phase of content. ------------------------------------------------------------------------


@pytest.mark.slow
def test_content_comes_first():
    """The discriminator rests bit for bit, optimizer and all; the generator is not judged."""
    game = holes(content_steps=2, pixel_weight=7.0)
    config = tiny.paired_config()
    config.train.steps = 5
    config.optimizer.discriminator.schedule.name = "linear"
    optimizers = build.make_optimizers(config, game)
    train_step = jax.jit(step.make_train_step(game, optimizers, EMA(), batch_size=8))
    states, metrics = [step.init_state(game, optimizers, EMA(), 0)], []
    for number in range(3):
        rows = stub.fields(game, stub.images((1, 8, *game.image_shape), number))
        state, means = train_step(states[-1], {}, rows)
        states.append(state)
        metrics.append({name: float(value) for name, value in means.items()})

    def judge(state):
        return jax.tree.leaves(state.networks["discriminator"])

    for state, logged in zip(states[1:3], metrics[:2], strict=True):
        for before, after in zip(judge(states[0]), judge(state), strict=True):
            np.testing.assert_array_equal(before, after)
        assert logged["generator/adversarial"] == 0.0
        assert {v for n, v in logged.items() if n.startswith("discriminator/")} == {0.0}
        expected = 7.0 * logged["generator/pixel"]
        assert logged["generator/loss"] == pytest.approx(expected, rel=1e-5)
    for before, after in zip(judge(states[2]), judge(states[3]), strict=True):
        assert (before != after).any()
    assert metrics[2]["generator/adversarial"] > 0.1
    assert metrics[2]["discriminator/loss"] > 0.1
    for before, after in itertools.pairwise(states):
        moved = [
            (a != b).any()
            for a, b in zip(
                jax.tree.leaves(before.networks["generator"].params),
                jax.tree.leaves(after.networks["generator"].params),
                strict=True,
            )
        ]
        assert all(moved)


def test_a_schedule_begins_when_its_player_does():
    config = tiny.paired_config()
    config.train.steps = 10
    config.game.paired.content_steps = 6
    for name in ("generator", "discriminator"):
        config.optimizer[name].update(name="sgd", learning_rate=1.0)
        config.optimizer[name].schedule.name = "linear"
    game = make_game(config, specs.images((8, 8, 1)), None)
    assert [player.start for player in game.players] == [6, 0]
    optimizers = build.make_optimizers(config, game)
    for name, steps in (("generator", 10), ("discriminator", 4)):
        rates = [float(optimizers[name].learning_rate(k)) for k in range(steps + 1)]
        np.testing.assert_allclose(rates, 1.0 - np.arange(steps + 1) / steps, atol=1e-6)
    # What never begins has a schedule, too.
    config.game.paired.content_steps = 10
    game = make_game(config, specs.images((8, 8, 1)), None)
    assert float(build.make_optimizers(config, game)["discriminator"].learning_rate(0)) == 1.0


def test_without_an_adversarial_term_there_is_no_discriminator():
    config = tiny.paired_config()
    config.game.paired.adversarial_weight = 0.0
    game = make_game(config, specs.images((8, 8, 1)), None)
    assert game.discriminator is None
    assert owner_steps(game) == {"generator": 1}
    (player,) = game.players
    assert player.fresh_data
    assert set(build.make_optimizers(config, game)) == {"generator"}


def test_the_discriminator_may_take_several_steps_to_one():
    game = pairs(discriminator_steps=3)
    assert owner_steps(game) == {"discriminator": 3, "generator": 1}
    assert [player.fresh_data for player in game.players] == [True, False]
    assert game.networks["generator"].averaged
    assert not game.networks["discriminator"].averaged


# --- From a configuration. ------------------------------------------------------------------------

ENLARGE = {"degrade.name": "downsample", "degrade.downsample.factor": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"degrade.name": "none"},
            r"data\.pairing = 'none' with degrade\.name = 'none'.*'side_by_side' or 'twins'",
        ),
        (
            {"degrade.name": "none", "data.pairing": "domains"},
            r"data\.pairing = 'domains' with degrade\.name = 'none'",
        ),
        (
            {"data.pairing": "twins"},
            r"data\.pairing = 'twins' with degrade\.name = 'mask', which makes inputs itself",
        ),
        (
            {**ENLARGE, "generator.name": "srresnet"},
            r"game\.paired\.conditional = True, but inputs are 2 times smaller.*: False",
        ),
        (
            {**ENLARGE, "game.paired.conditional": False},
            r"generator\.name = 'unet' does not enlarge.* 2 times smaller.*'srresnet'",
        ),
        (
            {"augment.diffaug.policy": ("color",)},
            r"augment\.diffaug\.policy = .*color.*'paired'",
        ),
        ({"augment.noise.deviation": 0.1}, r"augment\.noise\.deviation = 0\.1; .*: 0\.0"),
        ({"terms.lecam.weight": 0.3}, r"terms\.lecam\.weight = 0\.3; .*'paired': 0"),
        ({"fakes.history": 50}, r"fakes\.history = 50; .*: 0"),
        ({"game.clip": 0.01}, r"game\.clip = 0\.01; accepted for game\.name = 'paired'"),
        ({"game.discriminator_steps": 0}, r"game\.discriminator_steps = 0; accepted: 1 or more"),
        (
            {"game.paired.pixel": "l3"},
            r"game\.paired\.pixel = 'l3' is unknown; accepted: charbonnier, l1, l2",
        ),
        ({"game.paired.content_steps": -1}, r"game\.paired\.content_steps = -1; accepted: 0"),
        ({"penalty.name": "r1", "penalty.weight": -1.0}, r"penalty\.weight = -1\.0; accepted"),
        ({"degrade.name": "grey"}, r"degrade\.name = 'grey' with images of 1 channels"),
        ({"degrade.name": "greyy"}, r"'greyy' is unknown"),
        (
            {"generator.name": "dcgan"},
            r"generator\.name = 'dcgan' is unknown; accepted: hifigan, s",
        ),
        ({"game.paired.perceptual.extractor": "vgg"}, r"perceptual\.extractor = 'vgg' is unknown"),
        *[
            ({f"game.paired.{name}": -0.5}, rf"game\.paired\.{name} = -0\.5; accepted: 0 or more")
            for name in (
                "pixel_weight",
                "adversarial_weight",
                "variation_weight",
                "known_weight",
                "discriminator_weight",
            )
        ],
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    config = tiny.paired_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=message):
        make_game(config, specs.images((8, 8, 1)), None)


@pytest.mark.parametrize("degradation", ["gaussian", "none"])
def test_points_are_refused(degradation):
    config = tiny.paired_config()
    config.degrade.name = degradation
    if degradation == "none":
        config.data.pairing = "twins"
    with pytest.raises(errors.ConfigError, match=r"points .*; accepted for .* images"):
        make_game(config, specs.points(), None)


def test_an_enlarging_network_takes_its_factor_from_the_degradation():
    config = tiny.paired_config()
    config.update_from_flattened_dict(ENLARGE)
    config.game.paired.conditional = False
    config.generator.name = "srresnet"
    config.generator.srresnet.update(features=4, blocks=1, normalization="none")
    game = make_game(config, specs.images((8, 8, 1)), None)
    assert (game.generator.factor, game.generator.shape) == (2, (4, 4, 1))
    assert game.discriminator.shape == (8, 8, 1)


def test_a_penalty_without_a_discriminator_is_refused():
    config = tiny.paired_config()
    config.game.paired.adversarial_weight = 0.0
    config.penalty.name = "r1"
    with pytest.raises(errors.ConfigError, match=r"penalty\.name = 'r1' with .*accepted: 'none'"):
        build.make_training(config, tiny.spec(config))


@pytest.mark.parametrize("make", [tiny.image_config, tiny.anomaly_config])
def test_games_of_whole_images_refuse_crops(make):
    config = make()
    config.data.crop = 4
    with pytest.raises(errors.ConfigError, match=r"data\.crop = 4; accepted .* unset"):
        build.make_training(config, tiny.spec(config))
