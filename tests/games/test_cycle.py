"""CycleGAN: the losses by hand with generators whose inverse is known, the pools of past fakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.games import history
from gan_jax.games.cycle import CycleGame
from gan_jax.games.game import owner_steps
from gan_jax.games.registry import make_game
from gan_jax.games.translation import A_TO_B, B_TO_A, TranslationGame, choose_direction
from gan_jax.losses import adversarial
from gan_jax.runs import build
from gan_jax.training import step
from gan_jax.training.ema import EMA
from tests.games import stub
from tests.training import tiny

WEIGHTS = (2.0, 3.0)
SHAPE = (4, 6, 4)


def cycle(**fields):
    """Return a game on images of two channels."""
    options = {
        "generator": stub.Affine(),
        "discriminator": stub.Patches(WEIGHTS, 0.25),
        "spec": specs.pairs((4, 6, 2)),
        "loss": adversarial.make("least_squares"),
        "history": 0,
    }
    return CycleGame(**{**options, **fields})


def prepared(game, batch, there=(0.5, 0.1), back=(2.0, -0.2), **changes):
    """Return a turn whose generators are ``slope * x + offset``, each its own."""
    moment = stub.turn(game, batch, **changes)
    for name, (slope, offset) in (("a_to_b", there), ("b_to_a", back)):
        params = {"slope": jnp.float32(slope), "offset": jnp.float32(offset)}
        moment.variables[name] = {"params": params}
    # Each domain has a judge of its own.
    judge = moment.variables["discriminator_a"]["params"]
    moment.variables["discriminator_a"] = {"params": {**judge, "bias": jnp.float32(-0.5)}}
    return moment


def judged(images, domain):
    return stub.scores(images, WEIGHTS, {"a": -0.5, "b": 0.25}[domain])


def test_both_losses_are_those_of_the_paper():
    game = cycle(cycle_weight=7.0, identity_weight=3.0, discriminator_weight=0.25)
    batch = stub.images((5, *SHAPE))
    a, b = batch[..., :2], batch[..., 2:]
    there, back = lambda x: 0.5 * x + 0.1, lambda x: 1.5 * x - 0.3
    moment = prepared(game, batch, back=(1.5, -0.3))

    value, gradient, outcome = stub.play(game, "generators", moment)
    expected = {
        "AtoB/adversarial": 0.5 * np.square(judged(there(a), "b") - 1).mean(),
        "BtoA/adversarial": 0.5 * np.square(judged(back(b), "a") - 1).mean(),
        "AtoB/cycle": np.abs(back(there(a)) - a).mean(),
        "BtoA/cycle": np.abs(there(back(b)) - b).mean(),
        "AtoB/identity": np.abs(there(b) - b).mean(),
        "BtoA/identity": np.abs(back(a) - a).mean(),
    }
    share = {"adversarial": 1.0, "cycle": 7.0, "identity": 3.0}
    total = sum(share[name.split("/")[1]] * part for name, part in expected.items())
    np.testing.assert_allclose(value, total, rtol=1e-5)
    assert set(outcome.metrics) == set(expected)
    for name, part in expected.items():
        np.testing.assert_allclose(outcome.metrics[name], part, rtol=1e-5)
    # Both generators learn, of the way there and of the way back.
    assert set(gradient) == {"a_to_b", "b_to_a"}
    assert all(np.abs(leaf) > 1e-3 for leaf in jax.tree.leaves(gradient))

    value, gradient, outcome = stub.play(game, "discriminators", moment)
    expected = {
        "AtoB": 0.5 * (np.square(judged(b, "b") - 1) + np.square(judged(there(a), "b"))).mean(),
        "BtoA": 0.5 * (np.square(judged(a, "a") - 1) + np.square(judged(back(b), "a"))).mean(),
    }
    for way, part in expected.items():
        np.testing.assert_allclose(outcome.metrics[f"{way}/adversarial"], part, rtol=1e-5)
    np.testing.assert_allclose(value, 0.25 * sum(expected.values()), rtol=1e-5)
    real, fake = (outcome.metrics[f"BtoA/{name}"] for name in ("real_score", "fake_score"))
    np.testing.assert_allclose(real, judged(a, "a").mean(), rtol=1e-4)
    np.testing.assert_allclose(fake, judged(back(b), "a").mean(), rtol=1e-4)
    assert set(gradient) == {"discriminator_a", "discriminator_b"}
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradient))


def test_a_cycle_teaches_both_generators():
    game = cycle(loss=adversarial.make("wasserstein"), identity_weight=0.0, cycle_weight=1.0)
    judge = jax.tree.map(jnp.zeros_like, stub.turn(game, np.zeros((1, *SHAPE))).variables)
    moment = prepared(game, np.ones((5, *SHAPE), np.float32), there=(0.5, 0.0), back=(4.0, 0.0))
    for name in ("discriminator_a", "discriminator_b"):
        moment.variables[name] = judge[name]
    value, gradient, _ = stub.play(game, "generators", moment)
    np.testing.assert_allclose(value, 2.0)  # 4 * 0.5 * 1 - 1, both ways
    # d/ds of |s t - 1|, twice: 2 t; the offset of one goes through the other once of two times.
    np.testing.assert_allclose(gradient["a_to_b"]["slope"], 8.0)
    np.testing.assert_allclose(gradient["b_to_a"]["slope"], 1.0)
    np.testing.assert_allclose(gradient["a_to_b"]["offset"], 4.0 + 1.0)
    np.testing.assert_allclose(gradient["b_to_a"]["offset"], 0.5 + 1.0)


def test_images_of_the_target_domain_are_not_translated_without_weight():
    game = cycle(identity_weight=0.0)
    moment = prepared(game, stub.images((5, *SHAPE)))
    metrics = stub.loss(game, "generators", moment)[1].metrics
    assert not [name for name in metrics if "identity" in name]


@pytest.mark.slow
def test_each_pass_has_a_dropout_of_its_own():
    game = cycle(generator=stub.Affine(noise=0.5), loss=adversarial.make("wasserstein"))
    batch = np.zeros((64, *SHAPE), np.float32)
    metrics = stub.loss(game, "generators", prepared(game, batch, (1, 0), (1, 0)))[1].metrics
    # Sums of two normals on the way there and back, which would cancel nowhere; one alone.
    for way in (A_TO_B, B_TO_A):
        np.testing.assert_allclose(
            metrics[f"{way}/cycle"], 0.5 * 2**0.5 * (2 / np.pi) ** 0.5, rtol=0.1
        )
        np.testing.assert_allclose(metrics[f"{way}/identity"], 0.5 * (2 / np.pi) ** 0.5, rtol=0.1)
    variables = stub.turn(game, batch).variables
    np.testing.assert_array_equal(game.translate(variables, batch[..., :2], A_TO_B), batch[..., :2])


def test_a_loss_that_compares_with_real_images_gets_those_of_the_target_domain():
    game = cycle(
        loss=adversarial.make("relativistic_pairing"), cycle_weight=0.0, identity_weight=0.0
    )
    batch = stub.images((5, *SHAPE))
    a, b = batch[..., :2], batch[..., 2:]
    metrics = stub.loss(game, "generators", prepared(game, batch))[1].metrics
    for way, real, fake in (
        ("AtoB", judged(b, "b"), judged(0.5 * a + 0.1, "b")),
        ("BtoA", judged(a, "a"), judged(2.0 * b - 0.2, "a")),
    ):
        expected = np.log1p(np.exp(real - fake)).mean()
        np.testing.assert_allclose(metrics[f"{way}/adversarial"], expected, rtol=1e-5)


# --- Past fakes. ----------------------------------------------------------------------------------


def test_a_pool_that_is_being_filled_shows_the_fakes_themselves():
    batch = stub.images((5, *SHAPE))
    without = cycle()
    alone = stub.loss(without, "discriminators", prepared(without, batch))[0]
    game = cycle(history=8)
    assert set(game.memory) == {"history/discriminator_a", "history/discriminator_b"}
    value, outcome = stub.loss(game, "discriminators", prepared(game, batch))
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    there = outcome.memory["history/discriminator_b"]
    back = outcome.memory["history/discriminator_a"]
    assert int(there.count) == int(back.count) == 5
    np.testing.assert_allclose(there.images[:5], 0.5 * batch[..., :2] + 0.1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(back.images[:5], 2.0 * batch[..., 2:] - 0.2, rtol=1e-5, atol=1e-6)
    assert not np.asarray(there.images[5:]).any()


def test_a_full_pool_shows_fakes_of_the_past_and_takes_new_ones():
    game = cycle(history=4, loss=adversarial.make("wasserstein"), discriminator_weight=1.0)
    batch = stub.images((64, *SHAPE))
    past = history.History(jnp.full((4, 4, 6, 2), 9.0), jnp.int32(4))
    memory = dict.fromkeys(game.memory, past)
    _, outcome = stub.loss(game, "discriminators", prepared(game, batch, memory=memory))
    fakes = 0.5 * batch[..., :2] + 0.1
    kept = np.asarray(outcome.memory["history/discriminator_b"].images)
    # After 64 fakes nothing is left of those that were there.
    for image in kept:
        assert np.abs(fakes - image).max((1, 2, 3)).min() < 1e-5
    # Four of the past were shown, in place of new ones that stay behind.
    score = outcome.metrics["AtoB/fake_score"]
    raised = 64 * (float(score) - judged(fakes, "b").mean())
    assert raised > 4 * 9.0 * sum(WEIGHTS) / 2
    drawn = [np.asarray(outcome.memory[slot].images) for slot in sorted(outcome.memory)]
    assert len(drawn) == 2
    # Both pools change places by draws of their own.
    sources = [batch[..., 2:] * 2.0 - 0.2, fakes]
    chosen = [
        [int(np.abs(source - image).max((1, 2, 3)).argmin()) for image in images]
        for source, images in zip(sources, drawn, strict=True)
    ]
    assert chosen[0] != chosen[1]


@pytest.mark.slow
def test_a_train_step_moves_all_four_networks_and_remembers():
    game = cycle(generator=stub.Affine(0.5, 0.1), history=10)
    config = tiny.sgd(tiny.cycle_config())
    optimizers = build.make_optimizers(config, game)
    train_step = jax.jit(step.make_train_step(game, optimizers, EMA(), batch_size=8))
    before = step.init_state(game, optimizers, EMA(), 0)
    assert [int(pool.count) for pool in before.game.values()] == [0, 0]
    batch = stub.fields(game, stub.images((1, 8, *SHAPE)))
    after, _ = train_step(before, {}, batch)
    for name, network in after.networks.items():
        pairs = zip(
            jax.tree.leaves(before.networks[name].params),
            jax.tree.leaves(network.params),
            strict=True,
        )
        assert all(np.abs(a - b).max() > 1e-5 for a, b in pairs), name
    # The discriminators' turn comes first: they see what the generators were.
    slope, offset = (before.networks["a_to_b"].params[name] for name in ("slope", "offset"))
    fakes = after.game["history/discriminator_b"]
    made = slope * batch["a"][0] + offset
    np.testing.assert_allclose(fakes.images[:8], made, rtol=1e-5, atol=1e-6)
    assert [int(pool.count) for pool in after.game.values()] == [8, 8]
    again, _ = train_step(after, {}, batch)
    assert [int(pool.count) for pool in again.game.values()] == [10, 10]
    for slot, pool in again.game.items():
        assert (pool.images[8:] != after.game[slot].images[8:]).any()


# --- What it is made of. --------------------------------------------------------------------------


def test_both_of_a_kind_share_an_optimizer_group_and_no_weights():
    game = cycle()
    assert owner_steps(game) == {
        "a_to_b": 1,
        "b_to_a": 1,
        "discriminator_a": 1,
        "discriminator_b": 1,
    }
    groups = {name: (n.optimizer, n.averaged) for name, n in game.networks.items()}
    assert groups == {
        "a_to_b": ("generator", True),
        "b_to_a": ("generator", True),
        "discriminator_a": ("discriminator", False),
        "discriminator_b": ("discriminator", False),
    }
    assert [player.fresh_data for player in game.players] == [True, False]
    config = tiny.cycle_config()
    config.num_devices = 1
    config.optimizer.generator.learning_rate = 0.5
    config.optimizer.discriminator.learning_rate = 0.25
    training = build.make_training(config, tiny.spec(config))
    rates = {name: float(o.learning_rate(0)) for name, o in training.optimizers.items()}
    assert rates == {
        "a_to_b": 0.5,
        "b_to_a": 0.5,
        "discriminator_a": 0.25,
        "discriminator_b": 0.25,
    }


def test_a_direction_takes_its_own_generator_and_its_own_domain():
    game = cycle()
    assert isinstance(game, TranslationGame)
    assert game.degradation is None
    assert list(game.directions) == [A_TO_B, B_TO_A]
    assert choose_direction(game, B_TO_A) == B_TO_A
    batch = stub.images((5, *SHAPE))
    variables = prepared(game, batch).variables
    for way, half, slope, offset in ((A_TO_B, 0, 0.5, 0.1), (B_TO_A, 2, 2.0, -0.2)):
        example = game.examples(stub.fields(game, batch), None, way)
        source = batch[..., half : half + 2]
        np.testing.assert_array_equal(example.inputs, source)
        assert (example.target, example.known) == (None, None)
        made = game.translate(variables, example.inputs, way)
        np.testing.assert_allclose(made, np.clip(slope * source + offset, -1, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.pairing": "none"}, r"data\.pairing = 'none'; accepted for .*'cycle': 'domains'"),
        ({"data.pairing": "twins"}, r"data\.pairing = 'twins'; accepted"),
        ({"penalty.name": "r1"}, r"penalty\.name = 'r1'; accepted for game\.name = 'cycle'"),
        ({"augment.diffaug.policy": ("color",)}, r"augment\.diffaug\.policy = .*color.*'cycle'"),
        ({"fakes.history": 50}, r"fakes\.history = 50; .*'cycle'.*: 0"),
        ({"game.clip": 0.01}, r"game\.clip = 0\.01; accepted for game\.name = 'cycle'"),
        ({"discriminator.name": "dcgan2"}, r"discriminator\.name = 'dcgan2' is unknown"),
        *[
            ({f"game.cycle.{name}": -1}, rf"game\.cycle\.{name} = -1.*; accepted: 0 or more")
            for name in ("cycle_weight", "identity_weight", "discriminator_weight", "history")
        ],
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    config = tiny.cycle_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=message):
        make_game(config, specs.pairs((8, 8, 1)), None)


def test_points_are_refused():
    with pytest.raises(errors.ConfigError, match=r"points .*; accepted for .* images"):
        make_game(tiny.cycle_config(), specs.points(), None)
