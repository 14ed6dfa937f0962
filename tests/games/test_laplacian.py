"""The game of a Laplacian pyramid: who trains what, on what, and how samples climb the levels."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lapgan
from gan_jax.augment import diffaug
from gan_jax.data import spec as specs
from gan_jax.games import draws, registry
from gan_jax.games.game import batches_per_step, images_per_step
from gan_jax.layers import pyramid
from gan_jax.layers.normalization import with_moments
from gan_jax.layers.resample import mean_pool
from gan_jax.losses import adversarial
from tests.games import stub
from tests.training import tiny

SHAPE = (8, 8, 1)
NAMES = [f"{role}_{size}" for size in (2, 4, 8) for role in ("discriminator", "generator")]


def configuration(coarsest=2):
    """Levels of 2x2, 4x4 and 8x8: MLPs below two convolutional levels."""
    config = lapgan.get_config("smoke")
    config.data.resolution = 8
    config.generator.latent_dim = 3
    config.generator.name = config.discriminator.name = "mlp"
    config.generator.mlp.features = config.discriminator.mlp.features = (8,)
    config.game.laplacian.coarsest = coarsest
    for network in (config.game.laplacian.generator, config.game.laplacian.discriminator):
        network.update(features=4, kernel_size=3, normalization="none")
    config.game.laplacian.generator.layers = 1
    config.ema.half_life = 0.0
    config.train.update(batch_size=16, steps=6)
    return config


def bare(config, num_classes=None):
    """Return a game for one device, without weights."""
    return registry.make_game(config, specs.images(SHAPE, num_classes), None)


@functools.cache
def plain():
    """Return the plain configuration's game and a turn: made once."""
    return stub.begin(configuration(), SHAPE)


def test_networks_and_players_are_named_after_their_level():
    game = bare(configuration())
    assert [player.name for player in game.players] == NAMES
    assert [player.networks for player in game.players] == [(name,) for name in NAMES]
    assert set(game.networks) == set(NAMES)
    for name, network in game.networks.items():
        role, _, _ = name.partition("_")
        # So one group of the configuration is every level's.
        assert network.optimizer == role
        assert network.averaged == (role == "generator")
    assert game.shape == SHAPE
    assert game.latent_dim == 3 + 4 * 4 + 8 * 8
    assert game.num_classes is None


@pytest.mark.parametrize("loss", ["non_saturating", "relativistic_pairing"])
def test_one_batch_of_real_images_serves_all_players(loss):
    config = configuration()
    config.loss.name = loss
    game = bare(config)
    assert [player.fresh_data for player in game.players] == [True] + [False] * 5
    assert batches_per_step(game) == 1
    assert images_per_step(game, 16) == 16


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generator_2", "generator_4", "discriminator_4"])
def test_a_player_trains_its_own_network_and_knows_its_own_level(name):
    game, turn = plain()
    player = next(player for player in game.players if player.name == name)
    role, _, level = name.partition("_")
    other_role = {"generator": "discriminator", "discriminator": "generator"}[role]
    opponent = f"{other_role}_{level}"
    # If any other level were looked at, the loss would not be a number.
    nowhere = {
        other: jax.tree.map(lambda x: np.full_like(x, np.nan), turn.variables[other])
        for other in NAMES
        if not other.endswith(f"_{level}")
    }

    @jax.jit
    def gradients(own, opposing):
        def loss(own, opposing):
            variables = {**turn.variables, **nowhere, opponent: opposing}
            return player.loss({name: own}, dataclasses.replace(turn, variables=variables))[0]

        return jax.grad(loss, argnums=(0, 1))(own, opposing)

    own, opposing = gradients(turn.variables[name]["params"], turn.variables[opponent])
    own = jax.tree.leaves(own)
    assert all(np.all(np.isfinite(leaf)) for leaf in own)
    assert sum(bool(np.any(leaf != 0)) for leaf in own) > len(own) / 2
    if role == "discriminator":
        # Its fakes are made without a gradient to the generator.
        for leaf in jax.tree.leaves(opposing):
            np.testing.assert_array_equal(leaf, 0.0)


@pytest.mark.slow
def test_a_finer_level_plays_on_residuals_beside_the_real_blurred_images():
    """Both are moved and recoloured by the same draws."""
    config, policy = configuration(), ("color", "translation")
    config.augment.diffaug.policy = policy
    game, turn = stub.begin(config, SHAPE)
    _, middle, _ = game.levels

    def scores():
        residual, coarse = pyramid.split(mean_pool(turn.batch["image"]))
        z, condition = middle.latents(turn.keys("latent")), {"coarse": coarse}
        fake = middle.generator.apply(turn.variables["generator_4"], z, condition)
        for use, made in (("real", residual), ("fake", fake)):
            keys = turn.keys(f"augment/{use}")
            blurred = diffaug.diff_augment(keys, coarse, policy)
            shown = diffaug.diff_augment(keys, made + coarse, policy) - blurred
            variables = turn.variables["discriminator_4"]
            yield middle.discriminator.apply(variables, shown, {"coarse": blurred})

    real_scores, fake_scores = jax.jit(lambda: tuple(scores()))()
    loss = adversarial.make("non_saturating", axis_name=None)
    got, outcome = stub.loss(game, "discriminator_4", turn)
    expected = jnp.mean(loss.discriminator(real_scores, fake_scores))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["real_score"], jnp.mean(real_scores), atol=1e-5)
    got, _ = stub.loss(game, "generator_4", turn)
    np.testing.assert_allclose(got, jnp.mean(loss.generator(fake_scores, None)), rtol=1e-5)


def test_the_coarsest_level_plays_on_images_halved_by_means():
    game, turn = plain()
    level = game.coarsest
    real = turn.batch["image"].reshape(-1, 2, 4, 2, 4, 1).mean((2, 4))
    fake = level.generator.apply(turn.variables["generator_2"], level.latents(turn.keys("latent")))
    variables = turn.variables["discriminator_2"]
    _, outcome = stub.loss(game, "discriminator_2", turn)
    for name, images in (("real_score", real), ("fake_score", fake)):
        mean = jnp.mean(level.discriminator.apply(variables, images))
        np.testing.assert_allclose(outcome.metrics[name], mean, atol=1e-5)


@pytest.mark.slow
def test_a_penalty_bounds_the_gradient_by_residual_and_blurred_image():
    config = configuration()
    config.penalty.update(name="r1", weight=3.0)
    game, turn = stub.begin(config, SHAPE)
    level = game.levels[2]
    own = turn.variables["discriminator_8"]

    def total(residual, coarse):
        return jnp.sum(level.discriminator.apply(own, residual, {"coarse": coarse}))

    both = jax.jit(pyramid.split)(turn.batch["image"])
    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(*both)
    squares = sum(jnp.sum(jnp.square(slope), axis=(1, 2, 3)) for slope in slopes)
    loss, outcome = stub.loss(game, "discriminator_8", turn)
    np.testing.assert_allclose(outcome.metrics["penalty"], 0.5 * jnp.mean(squares), rtol=1e-4)
    without, _ = stub.loss(plain()[0], "discriminator_8", turn)
    np.testing.assert_allclose(loss - without, 3.0 * outcome.metrics["penalty"], rtol=1e-3)


@pytest.mark.slow
def test_each_level_remembers_for_itself():
    config = configuration()
    config.terms.lecam.weight = 0.1
    game, turn = stub.begin(config, SHAPE)
    assert set(game.memory) == {"lecam_2", "lecam_4", "lecam_8"}
    for player in game.players[::2]:
        level = player.name.rpartition("_")[2]
        _, outcome = stub.loss(game, player.name, turn)
        assert set(outcome.memory) == {f"lecam_{level}"}
        anchors = outcome.memory[f"lecam_{level}"]
        # The first average moves from 0 towards this level's own scores.
        sign = np.sign(outcome.metrics["real_score"])
        assert np.sign(anchors.real) == sign


def climb(game, variables, z, labels=None):
    """Return a sample's images at all levels, by hand."""
    condition = {} if labels is None else {"label": labels}
    apply = functools.partial(_apply, variables, condition)
    images = [apply(game.levels[0], "generator_2", z[:, :3])]
    for level, place in ((1, slice(3, 19)), (2, slice(19, 83))):
        coarse = pyramid.upsample(images[-1])
        residual = apply(game.levels[level], f"generator_{2 << level}", z[:, place], coarse)
        images.append(coarse + residual)
    return images


def _apply(variables, condition, level, name, z, coarse=None):
    condition = condition if coarse is None else {**condition, "coarse": coarse}
    return level.generator.apply(variables[name], z, condition, train=False)


@functools.cache
def climbing():
    """Return the latents of the plain turn, and its climb, compiled."""
    game, turn = plain()
    z = jax.jit(game.latents)(turn.keys("latent"))
    return z, jax.jit(functools.partial(climb, game, turn.variables))


def test_sampling_climbs_from_coarse_to_fine():
    game, turn = plain()
    z, climbed = climbing()
    assert z.shape == (16, game.latent_dim)
    images = jax.jit(game.sample)(turn.variables, z)
    assert images.dtype == jnp.float32
    np.testing.assert_allclose(images, climbed(z)[-1], atol=1e-5)


def test_finer_residuals_depend_on_the_coarse_image_that_was_generated():
    z, climbed = climbing()
    # The same noise for the finer levels, another image below them.
    other = z.at[:, :3].multiply(-2.0)
    for level in (1, 2):
        residuals = []
        for latents in (z, other):
            images = climbed(latents)
            residuals.append(images[level] - pyramid.upsample(images[level - 1]))
        assert np.max(np.abs(residuals[0] - residuals[1])) > 1e-2


def test_truncation_limits_the_latents_of_all_levels():
    game, turn = plain()
    z, climbed = climbing()
    found = jax.jit(functools.partial(game.sample, truncation=0.5))(turn.variables, z)
    np.testing.assert_allclose(found, climbed(draws.truncate(z, 0.5))[-1], atol=1e-5)
    assert np.max(np.abs(found - climbed(z)[-1])) > 1e-2


@pytest.mark.slow
def test_moments_are_those_of_the_batch_that_is_sampled():
    config = configuration()
    config.game.laplacian.generator.normalization = "batch"
    game, turn = stub.begin(config, SHAPE)
    z = jax.jit(game.latents)(turn.keys("latent"))
    moments = jax.jit(game.sample_moments)(turn.variables, z)
    assert set(moments) == {"generator_2", "generator_4", "generator_8"}
    assert moments["generator_2"] == {}  # An MLP.
    variables = {
        name: {**own, "batch_stats": with_moments(own["batch_stats"], moments[name])}
        if moments.get(name)
        else own
        for name, own in turn.variables.items()
    }
    trained = jax.jit(functools.partial(game.sample, train=True))(turn.variables, z)
    sample = jax.jit(game.sample)
    np.testing.assert_allclose(sample(variables, z), trained, atol=1e-3)
    assert np.max(np.abs(sample(turn.variables, z) - trained)) > 1e-2


@pytest.mark.slow
def test_classes_reach_every_level():
    config = configuration()
    config.generator.conditioning = config.discriminator.conditioning = "concat"
    game, turn = stub.begin(config, SHAPE)
    assert game.num_classes == 8
    z = jax.jit(game.latents)(turn.keys("latent"))
    climbed = jax.jit(functools.partial(climb, game, turn.variables))
    images = [climbed(z, np.full(16, label, np.int32)) for label in (0, 5)]
    for one, other in zip(*images, strict=True):
        assert np.max(np.abs(one - other)) > 1e-3
    sampled = jax.jit(game.sample)(turn.variables, z, {"label": np.full(16, 5, np.int32)})
    np.testing.assert_allclose(sampled, images[1][-1], atol=1e-5)

    @jax.jit
    def losses(label):
        labelled = dataclasses.replace(turn, batch={**turn.batch, "label": label})
        own = {name: turn.variables[name]["params"] for name in NAMES}
        return [one.loss({one.name: own[one.name]}, labelled)[0] for one in game.players]

    label = np.asarray(turn.batch["label"])
    for one, other in zip(losses(label), losses((label + 1) % 8), strict=True):
        assert one != other


@pytest.mark.slow
def test_two_devices_train_as_one_does():
    """With batch statistics in the generator, spectral norms in the discriminator, a penalty."""

    def final(devices):
        config = tiny.sgd(configuration(coarsest=4))
        config.game.laplacian.generator.normalization = "batch"
        config.game.laplacian.discriminator.normalization = "spectral"
        config.penalty.update(name="wgan_gp", weight=1.0)
        config.num_devices = devices
        state, training = tiny.run(config, 2)
        return tiny.host(state), tiny.host(training.init_state())

    (one, start), (two, _) = final(1), final(2)
    chex.assert_trees_all_close(two, one, **tiny.TOLERANCE)
    vectors = [s.networks["discriminator_8"].mutable["spectral"] for s in (start, one)]
    for before, after in (
        *((network.params, one.networks[name].params) for name, network in start.networks.items()),
        vectors,
    ):
        changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
        assert np.mean(jax.tree.leaves(changed)) > 0.5


def refused(config, shape=SHAPE, num_classes=None):
    return stub.refusal(config, tiny.spec_of(shape, num_classes))


@pytest.mark.parametrize("coarsest", [0, 3, 8])
def test_a_resolution_that_doubling_does_not_reach_is_refused(coarsest):
    message = refused(configuration(coarsest))
    assert f"game.laplacian.coarsest = {coarsest}" in message
    assert "data.resolution = 8" in message
    assert "accepted: 1, 2, 4" in message


@pytest.mark.parametrize("shape", [(15, 15, 1), (2,), (8, 4, 1)])
def test_data_that_have_no_halves_are_refused(shape):
    message = refused(configuration(), shape)
    assert ("data.resolution = 15" if shape == (15, 15, 1) else "data.name") in message
    assert "accepted for " in message


def test_networks_that_cannot_make_the_coarsest_level_are_refused():
    config = configuration(coarsest=4)
    config.generator.name = "dcgan"
    message = refused(config)
    assert "game.laplacian.coarsest = 4: " in message
    assert "accepted: 8 or more" in message


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_conditioning_that_finer_levels_do_not_have_is_refused(role):
    config = configuration()
    config[role].conditioning = "projection" if role == "discriminator" else "batch_norm"
    message = refused(config, num_classes=8)
    assert f"{role}.conditioning = " in message
    assert "accepted for game.name = 'laplacian': none, concat" in message


def test_a_history_of_fakes_is_refused():
    config = configuration()
    config.fakes.history = 8
    assert "fakes.history = 8" in refused(config)


@pytest.mark.parametrize(
    "term", ["classification", "information", "path_length", "san", "transport"]
)
def test_terms_that_finer_levels_do_not_have_are_refused(term):
    config = configuration()
    config.terms[term].weight = 1.0
    message = f"terms.{term}.weight = 1.0; accepted for game.name = 'laplacian': 0"
    assert message in refused(config, num_classes=8)
