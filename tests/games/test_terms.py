"""Terms of the players' losses: each by hand, lazily, with memory on 1 and 8 devices, resumed."""

import dataclasses
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.augment import flip_shift
from gan_jax.data import spec as specs
from gan_jax.games import terms
from gan_jax.games.draws import named
from gan_jax.games.game import Turn
from gan_jax.losses import lecam
from gan_jax.runs import build
from tests.training import tiny

SHAPE = (8, 8, 1)
# The sums over a batch are associated differently: float32 rounding, grown over three steps.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}


def configuration(**fields):
    config = tiny.image_config(critic_steps=1)
    config.penalty.name = "none"
    config.loss.name = "non_saturating"
    config.update_from_flattened_dict(fields)
    return config


def discriminator_metrics(play, **fields):
    """Return the discriminator's loss, its outcome, the game and the turn."""
    game, params, turn = play(configuration(**fields), SHAPE, batch=8)
    own = {"discriminator": params["discriminator"]}
    loss, outcome = game.discriminator_loss(own, turn)
    return loss, outcome, game, turn


def scores(game, turn, images):
    return game.discriminator.apply(
        turn.variables["discriminator"], images, turn.condition, train=True
    )


def fakes(game, turn):
    z = game.latents(turn.keys("latent"))
    # The generator has batch-norm that names the mapped axis: one device of it.
    return jax.vmap(
        lambda _: game.sample(turn.variables, z, turn.condition, train=True), axis_name="data"
    )(jnp.zeros(1))[0]


@pytest.fixture
def play(play, monkeypatch):
    """Let the generator of a game that is played by hand normalise by itself."""
    make = build.make_game
    monkeypatch.setattr(build, "make_game", lambda config, spec, axis: make(config, spec, None))
    return play


@pytest.mark.parametrize("kind", ["real", "fake"])
def test_consistency_compares_an_image_with_its_moved_self(play, kind):
    other = "fake" if kind == "real" else "real"
    plain, *_ = discriminator_metrics(play)
    loss, outcome, game, turn = discriminator_metrics(
        play,
        **{
            "terms.consistency.weight": 5.0,
            f"terms.consistency.{kind}_weight": 2.0,
            f"terms.consistency.{other}_weight": 0.0,
        },
    )
    images = specs.data(turn.batch, game.spec) if kind == "real" else fakes(game, turn)
    moved = flip_shift.flip_shift(turn.keys(f"consistency/{kind}"), images)
    expected = jnp.mean(jnp.square(scores(game, turn, images) - scores(game, turn, moved)))
    assert expected > 0
    np.testing.assert_allclose(outcome.metrics[f"consistency_{kind}"], expected, rtol=1e-3)
    np.testing.assert_allclose(loss, plain + 10.0 * expected, rtol=1e-5)


def test_lecam_moves_its_averages_and_begins_when_it_is_to(play):
    fields = {"terms.lecam.weight": 0.3, "terms.lecam.start": 2}
    config = configuration(**fields)
    plain, *_ = discriminator_metrics(play)
    for count, begun in ((0, False), (2, True)):
        game, params, turn = play(config, SHAPE, batch=8, count=count)
        loss, outcome = game.discriminator_loss({"discriminator": params["discriminator"]}, turn)
        real = scores(game, turn, specs.data(turn.batch, game.spec))
        fake = scores(game, turn, fakes(game, turn))
        term = jnp.mean(lecam.lecam(real, fake, 0.0, 0.0))
        np.testing.assert_allclose(outcome.metrics["lecam"], term, rtol=1e-3)
        np.testing.assert_allclose(loss, plain + begun * 0.3 * term, rtol=1e-5)
        anchors = outcome.memory["lecam"]
        np.testing.assert_allclose(anchors.real, 0.01 * real.mean(), rtol=1e-3)
        np.testing.assert_allclose(anchors.fake, 0.01 * fake.mean(), rtol=1e-3)


def test_feature_matching_draws_the_means_of_the_last_features_together(play):
    config = configuration(**{"terms.feature_matching.weight": 2.0})
    game, params, turn = play(config, SHAPE, batch=8)
    loss, outcome = game.generator_loss({"generator": params["generator"]}, turn)

    def features(images):
        verdict = game.discriminator.apply(
            turn.variables["discriminator"], images, None, train=True, method="judge"
        )
        return verdict.features[-1].mean(0)

    expected = jnp.mean(
        jnp.square(features(specs.data(turn.batch, game.spec)) - features(fakes(game, turn)))
    )
    np.testing.assert_allclose(outcome.metrics["feature_matching"], expected, rtol=1e-3)
    np.testing.assert_allclose(loss, outcome.metrics["adversarial"] + 2.0 * expected, rtol=1e-5)


def test_the_generator_learns_from_its_best_images_alone(play):
    fields = {"fakes.top_k": 0.25, "fakes.top_k_decay": 0.5, "fakes.top_k_steps": 1}
    config = configuration(**fields)
    for count, kept in ((0, 8), (1, 4), (2, 2), (9, 2)):
        game, params, turn = play(config, SHAPE, batch=8, count=count)
        loss, _ = game.generator_loss({"generator": params["generator"]}, turn)
        best = np.sort(scores(game, turn, fakes(game, turn)))[-kept:]
        np.testing.assert_allclose(loss, np.log1p(np.exp(-best)).mean(), rtol=1e-5)


def test_past_fakes_are_shown_with_the_labels_that_they_were_made_for(play):
    config = configuration(**{"fakes.history": 8})
    game, params, turn = play(config, SHAPE, batch=8)
    own = {"discriminator": params["discriminator"]}
    _, first = game.discriminator_loss(own, turn)
    pool = first.memory["history"]
    assert int(pool.count) == 8
    images, condition = pool.images
    labels = condition["label"]
    np.testing.assert_allclose(images, fakes(game, turn), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, turn.batch["label"])
    later = dataclasses.replace(turn, memory=first.memory, key=named(turn.key, "later"))
    _, second = game.discriminator_loss(own, later)
    fresh = scores(game, later, fakes(game, later)).mean()
    assert abs(second.metrics["fake_score"] - fresh) > 1e-6


@dataclasses.dataclass(frozen=True)
class Drift(terms.Term):
    """The mean score of fakes times its moving average: a term with a memory."""

    name: ClassVar[str] = "drift"
    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    def init(self):
        return jnp.zeros((), jnp.float32)

    def __call__(self, context):
        mean = jnp.mean(context.fake.verdict.scores)
        value = mean * context.memory
        if (axis := context.turn.axis_name) is not None:
            mean = jax.lax.pmean(mean, axis)
        memory = 0.5 * context.memory + 0.5 * jax.lax.stop_gradient(mean)
        return terms.Added(value, {"drift_mean": mean}, memory)


def drifting(count=0, remembered=0.5, **fields):
    """Return a game of points with that term, its parameters and a turn."""
    config = tiny.point_config()
    config.num_devices = 1
    game = build.make_training(config, specs.points(8)).game
    game = dataclasses.replace(game, terms={"drift": Drift(weight=3.0, **fields)})
    variables = {
        name: network.init(jax.random.key(i))
        for i, (name, network) in enumerate(game.networks.items())
    }
    data = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    turn = Turn(
        variables=variables,
        batch={"points": jnp.asarray(data), "label": jnp.zeros(8, jnp.int32)},
        key=jax.random.key(3),
        count=jnp.asarray(count, jnp.int32),
        axis_name=None,
        memory={"drift": jnp.float32(remembered)},
    )
    return game, {name: own["params"] for name, own in variables.items()}, turn


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_term_reaches_its_players_with_its_gradient_and_memory(player):
    game, params, turn = drifting()
    loss_of = lambda game: getattr(game, f"{player}_loss")  # noqa: E731
    own = {player: params[player]}
    (loss, outcome), gradient = jax.value_and_grad(loss_of(game), has_aux=True)(own, turn)
    bare = dataclasses.replace(game, terms={})
    (plain, _), without = jax.value_and_grad(loss_of(bare), has_aux=True)(own, turn)
    mean = outcome.metrics["drift_mean"]
    np.testing.assert_allclose(outcome.metrics["drift"], 0.5 * mean, rtol=1e-5)
    np.testing.assert_allclose(loss, plain + 3.0 * 0.5 * mean, rtol=1e-5)
    np.testing.assert_allclose(outcome.memory["drift"], 0.25 + 0.5 * mean, rtol=1e-5)
    gaps = jax.tree.map(lambda a, b: np.abs(a - b).max(), gradient, without)
    assert max(jax.tree.leaves(gaps)) > 1e-4


@pytest.mark.parametrize("count", range(4))
def test_a_lazy_term_is_scaled_and_rests_with_its_memory(count):
    eager, params, turn = drifting(count)
    lazy, *_ = drifting(count, every=2)
    own = {"discriminator": params["discriminator"]}

    def play(game):
        compute = jax.value_and_grad(lambda own: game.discriminator_loss(own, turn), has_aux=True)
        (loss, outcome), gradient = jax.jit(compute)(own)
        return loss, outcome, gradient

    none = play(dataclasses.replace(eager, terms={}))
    now, one = play(lazy), play(eager)
    scale = 2.0 if count % 2 == 0 else 0.0
    for found, full, base in ((now[0], one[0], none[0]), (now[2], one[2], none[2])):
        expected = jax.tree.map(lambda f, b: b + scale * (f - b), full, base)
        chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-6)
    remembered = one[1].memory["drift"] if scale else 0.5
    np.testing.assert_allclose(now[1].memory["drift"], remembered, rtol=1e-6)


def test_a_term_that_has_not_started_is_logged_and_remembers():
    game, params, turn = drifting(count=2, start=3)
    own = {"discriminator": params["discriminator"]}
    loss, outcome = game.discriminator_loss(own, turn)
    assert loss == outcome.metrics["adversarial"]
    assert outcome.metrics["drift"] != 0
    assert outcome.memory["drift"] != 0.5


EXTRAS = {
    "terms": {
        "terms.consistency.weight": 1.0,
        "terms.lecam.weight": 0.1,
        "terms.feature_matching.weight": 1.0,
    },
    "choices": {
        "fakes.top_k": 0.5,
        "fakes.top_k_decay": 0.5,
        "fakes.top_k_steps": 1,
        "fakes.history": 20,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXTRAS)
def test_eight_devices_train_like_one(extra):
    def final(devices):
        config = tiny.sgd(configuration(**EXTRAS[extra]))
        config.num_devices = devices
        state, metrics, _ = tiny.run_with_metrics(config, 3)
        return jax.device_get((state.networks, state.game, metrics))

    chex.assert_trees_all_close(final(8), final(1), **TOLERANCE)


def test_a_registered_term_is_configured_and_its_memory_is_the_same_on_all_devices(monkeypatch):
    monkeypatch.setitem(terms.TERMS, "drift", Drift)

    def final(devices, steps=3):
        config = tiny.sgd(tiny.point_config())
        config.terms.drift.weight = 2.0
        config.num_devices = devices
        state, metrics, _ = tiny.run_with_metrics(config, steps)
        return jax.device_get((state.networks, state.game, metrics))

    one = final(1)
    assert one[1]["drift"] != 0
    assert one[2][-1]["discriminator/drift"] != 0
    chex.assert_trees_all_close(final(8), one, **TOLERANCE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"terms.lecam.weight": -1.0}, r"terms\.lecam\.weight = -1\.0; accepted: 0 or more"),
        ({"terms.lecam.every": 0}, r"terms\.lecam\.every = 0; accepted: 1 or more"),
        ({"terms.lecam.start": -1}, r"terms\.lecam\.start = -1; accepted: 0 or more"),
        ({"terms.lecam.decay": 1.5}, r"terms\.lecam\.decay = 1\.5; accepted: .*\[0, 1\)"),
        ({"fakes.top_k": 0.0}, r"fakes\.top_k = 0\.0"),
        ({"fakes.history": -1}, r"fakes\.history = -1; accepted: 0 or more"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    config = configuration(**fields)
    config.num_devices = 1
    with pytest.raises(errors.ConfigError, match=message):
        build.make_training(config, specs.images(SHAPE))


def test_consistency_is_refused_for_points():
    config = tiny.point_config()
    config.num_devices = 1
    config.terms.consistency.weight = 1.0
    with pytest.raises(errors.ConfigError, match=r"terms\.consistency\.weight.* for images"):
        build.make_training(config, specs.points())


def test_minibatch_discrimination_does_not_compare_real_with_fake():
    config = tiny.minibatch_config()
    config.num_devices = 1
    config.game.joint_batch = True
    with pytest.raises(errors.ConfigError, match=r"game\.joint_batch = True.*accepted .*: False"):
        build.make_training(config, specs.points())
