"""Augmentation and regularisers of the adversarial game: each does its own work, and no other."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.augment import diffaug, flip_shift, instance_noise
from gan_jax.data import spec as specs
from gan_jax.games.draws import named
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


def test_the_discriminator_is_shown_augmented_images_of_both_kinds(play):
    policy = ("color", "translation", "cutout")
    _, outcome, game, turn = discriminator_metrics(play, **{"augment.policy": policy})
    for kind, images in (("real", specs.data(turn.batch, game.spec)), ("fake", fakes(game, turn))):
        shown = diffaug.diff_augment(turn.keys(f"augment/{kind}"), images, policy)
        expected = scores(game, turn, shown).mean()
        np.testing.assert_allclose(outcome.metrics[f"{kind}_score"], expected, rtol=1e-4)
        assert abs(expected - scores(game, turn, images).mean()) > 1e-5


def test_the_generators_gradient_passes_through_the_augmentation(play):
    def gradient(policy):
        config = configuration(**{"augment.policy": policy})
        game, params, turn = play(config, SHAPE, batch=8)
        loss = lambda p: game.generator_loss({"generator": p}, turn)[0]  # noqa: E731
        return jax.grad(loss)(params["generator"])

    plain, augmented = gradient(()), gradient(("color", "translation", "cutout"))
    sizes = [float(np.abs(leaf).max()) for leaf in jax.tree.leaves(augmented)]
    assert min(sizes) > 0
    assert np.isfinite(sizes).all()
    pairs = zip(jax.tree.leaves(plain), jax.tree.leaves(augmented), strict=True)
    assert all(bool((a != b).any()) for a, b in pairs)


@pytest.mark.parametrize(("count", "level"), [(0, 0.4), (5, 0.2), (10, 0.0), (20, 0.0)])
def test_instance_noise_fades(play, count, level):
    config = configuration(**{"augment.noise": 0.4, "augment.noise_steps": 10})
    game, params, turn = play(config, SHAPE, batch=8, count=count)
    _, outcome = game.discriminator_loss({"discriminator": params["discriminator"]}, turn)
    shown = instance_noise.add_noise(
        turn.keys("noise/real"), specs.data(turn.batch, game.spec), level
    )
    expected = scores(game, turn, shown).mean()
    np.testing.assert_allclose(outcome.metrics["real_score"], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["real", "fake"])
def test_consistency_compares_an_image_with_its_moved_self(play, kind):
    plain, *_ = discriminator_metrics(play)
    loss, outcome, game, turn = discriminator_metrics(
        play, **{f"regularize.consistency_{kind}": 10.0}
    )
    images = specs.data(turn.batch, game.spec) if kind == "real" else fakes(game, turn)
    moved = flip_shift.flip_shift(turn.keys(f"consistency/{kind}"), images)
    expected = jnp.mean(jnp.square(scores(game, turn, images) - scores(game, turn, moved)))
    assert expected > 0
    np.testing.assert_allclose(outcome.metrics[f"consistency_{kind}"], expected, rtol=1e-3)
    np.testing.assert_allclose(loss, plain + 10.0 * expected, rtol=1e-5)


def test_lecam_moves_its_averages_and_begins_when_it_is_to(play):
    fields = {"regularize.lecam": 0.3, "regularize.lecam_start": 2}
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
    config = configuration(**{"regularize.feature_matching": 2.0})
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
    fields = {"regularize.top_k": 0.25, "regularize.top_k_decay": 0.5, "regularize.top_k_steps": 1}
    config = configuration(**fields)
    for count, kept in ((0, 8), (1, 4), (2, 2), (9, 2)):
        game, params, turn = play(config, SHAPE, batch=8, count=count)
        loss, _ = game.generator_loss({"generator": params["generator"]}, turn)
        best = np.sort(scores(game, turn, fakes(game, turn)))[-kept:]
        np.testing.assert_allclose(loss, np.log1p(np.exp(-best)).mean(), rtol=1e-5)


def test_past_fakes_are_shown_with_the_labels_that_they_were_made_for(play):
    config = configuration(**{"regularize.history": 8})
    game, params, turn = play(config, SHAPE, batch=8)
    own = {"discriminator": params["discriminator"]}
    _, first = game.discriminator_loss(own, turn)
    pool = first.memory["history"]
    assert int(pool.count) == 8
    images, condition = pool.images
    labels = condition["label"]
    np.testing.assert_allclose(images, fakes(game, turn), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, turn.batch["label"])
    later = build.dataclasses.replace(turn, memory=first.memory, key=named(turn.key, "later"))
    _, second = game.discriminator_loss(own, later)
    fresh = scores(game, later, fakes(game, later)).mean()
    assert abs(second.metrics["fake_score"] - fresh) > 1e-6


EXTRAS = {
    "augment": {"augment.policy": ("color", "translation", "cutout"), "augment.noise": 0.1},
    "terms": {
        "regularize.consistency_real": 1.0,
        "regularize.consistency_fake": 1.0,
        "regularize.lecam": 0.1,
        "regularize.feature_matching": 1.0,
    },
    "choices": {
        "regularize.top_k": 0.5,
        "regularize.top_k_decay": 0.5,
        "regularize.top_k_steps": 1,
        "regularize.history": 20,
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"augment.policy": ("colour",)}, r"augment\.policy.*colour"),
        ({"augment.noise": -1.0}, r"augment\.noise = -1\.0"),
        ({"regularize.lecam": -1.0}, r"regularize\.lecam = -1\.0; accepted: 0 or more"),
        ({"regularize.lecam_decay": 1.5}, r"regularize\.lecam_decay = 1\.5"),
        ({"regularize.top_k": 0.0}, r"regularize\.top_k = 0\.0"),
        ({"regularize.history": -1}, r"regularize\.history = -1; accepted: 0 or more"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    config = configuration(**fields)
    config.num_devices = 1
    with pytest.raises(errors.ConfigError, match=message):
        build.make_training(config, specs.images(SHAPE))


@pytest.mark.parametrize("field", ["augment.policy", "regularize.consistency_real"])
def test_what_is_for_images_is_refused_for_points(field):
    config = tiny.point_config()
    config.num_devices = 1
    config.update_from_flattened_dict({field: ("color",) if field == "augment.policy" else 1.0})
    with pytest.raises(errors.ConfigError, match=rf"{field}.* for images"):
        build.make_training(config, specs.points())


def test_minibatch_discrimination_does_not_compare_real_with_fake():
    config = tiny.minibatch_config()
    config.num_devices = 1
    config.game.joint_batch = True
    with pytest.raises(errors.ConfigError, match=r"game\.joint_batch = True.*accepted .*: False"):
        build.make_training(config, specs.points())
