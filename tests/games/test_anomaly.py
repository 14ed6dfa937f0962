"""GANomaly: losses and scores by hand, whose weights are whose, training without a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.data import spec as specs
from gan_jax.games.anomaly import RECONSTRUCT, DetectionGame
from gan_jax.games.game import GenerativeGame, as_generative, owner_steps
from gan_jax.games.registry import make_game
from gan_jax.games.translation import TranslationGame
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from tests.games import stub
from tests.training import tiny

SHAPE = (4, 4, 1)


def mlp_config(**weights):
    """Return a configuration of MLPs: the fastest to compile."""
    config = tiny.anomaly_config()
    config.num_devices = 1
    for network in (config.encoder, config.generator, config.discriminator):
        network.name = "mlp"
        network.mlp.features = (16, 8)
    config.data.crop = None
    config.game.anomaly.update(**weights)
    return config


def forward(game, variables, images):
    """Return both latents, reconstructions, and verdicts on images and reconstructions."""
    encode = lambda name, x: game.encoder.apply(variables[name], x, None)  # noqa: E731
    judge = lambda x: game.discriminator.apply(  # noqa: E731
        variables["discriminator"], x, None, method="judge"
    )
    z = encode("encoder", images)
    made = game.generator.apply(variables["generator"], z, None)
    return jax.device_get((z, made, encode("second_encoder", made), judge(images), judge(made)))


@pytest.mark.slow
def test_both_losses_and_the_score_are_those_of_the_paper():
    config = mlp_config(pixel_weight=7.0, latent_weight=3.0, adversarial_weight=0.5)
    game = make_game(config, specs.images(SHAPE), None)
    batch = stub.images((5, *SHAPE))
    moment = stub.turn(game, batch)
    z, made, again, real, fake = forward(game, moment.variables, moment.batch["image"])
    parts = {
        "adversarial": np.square(real.features[-1] - fake.features[-1]).mean(),
        "pixel": np.abs(made - batch).mean(),
        "latent": np.square(z - again).mean(),
    }
    value, gradient, outcome = stub.play(game, "generator", moment)
    assert set(outcome.metrics) == set(parts)
    for name, part in parts.items():
        assert part > 1e-4
        np.testing.assert_allclose(outcome.metrics[name], part, rtol=1e-4)
    expected = 0.5 * parts["adversarial"] + 7.0 * parts["pixel"] + 3.0 * parts["latent"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert set(gradient) == {"encoder", "generator", "second_encoder"}

    value, gradient, outcome = stub.play(game, "discriminator", moment)
    softplus = lambda x: np.log1p(np.exp(x))  # noqa: E731
    expected = (softplus(-real.scores) + softplus(fake.scores)).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["real_score"], real.scores.mean(), rtol=1e-4)
    np.testing.assert_allclose(outcome.metrics["fake_score"], fake.scores.mean(), rtol=1e-4)
    assert set(gradient) == {"discriminator"}

    scores = game.anomaly_scores(moment.variables, moment.batch["image"])
    np.testing.assert_allclose(scores, np.abs(z - again).mean(1), rtol=1e-4)
    shown = game.translate(moment.variables, moment.batch["image"], RECONSTRUCT)
    np.testing.assert_allclose(shown, made, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_every_term_teaches_whom_it_should():
    """The pixels nothing of the second encoder; its latent, and the features, all before them."""
    batch = stub.images((5, *SHAPE))
    zero = {"pixel_weight": 0.0, "latent_weight": 0.0, "adversarial_weight": 0.0}
    for term, taught in (
        ("pixel_weight", {"encoder", "generator"}),
        ("adversarial_weight", {"encoder", "generator"}),
        ("latent_weight", {"encoder", "generator", "second_encoder"}),
    ):
        game = make_game(mlp_config(**{**zero, term: 1.0}), specs.images(SHAPE), None)
        gradient = stub.play(game, "generator", stub.turn(game, batch))[1]
        moved = {
            name
            for name, own in gradient.items()
            if any(np.abs(leaf).max() > 1e-7 for leaf in jax.tree.leaves(own))
        }
        assert moved == taught, term


@pytest.mark.slow
def test_the_second_encoder_has_weights_of_its_own():
    game = make_game(mlp_config(), specs.images(SHAPE), None)
    batch = stub.images((5, *SHAPE))
    moment = stub.turn(game, batch)
    before = np.asarray(game.anomaly_scores(moment.variables, moment.batch["image"]))
    again = {
        **moment.variables,
        "second_encoder": jax.tree.map(lambda x: 2.0 * x, moment.variables["second_encoder"]),
    }
    assert np.abs(game.anomaly_scores(again, moment.batch["image"]) - before).max() > 1e-4
    shown = [game.translate(v, moment.batch["image"]) for v in (moment.variables, again)]
    np.testing.assert_array_equal(*shown)
    config = mlp_config()
    config.optimizer.encoder.learning_rate = 0.125
    training = build.make_training(config, specs.images(SHAPE))
    networks = training.init_state().networks
    first, second = (jax.tree.leaves(networks[n].params) for n in ("encoder", "second_encoder"))
    assert any((a != b).any() for a, b in zip(first, second, strict=True))
    rates = {name: float(o.learning_rate(0)) for name, o in training.optimizers.items()}
    assert rates["encoder"] == rates["second_encoder"] == 0.125
    assert owner_steps(training.game) == dict.fromkeys(networks, 1)
    averaged = {name for name, n in training.game.networks.items() if n.averaged}
    assert averaged == {"encoder", "generator", "second_encoder"}


@pytest.mark.slow
def test_batch_statistics_are_those_of_its_players_turn():
    config = tiny.anomaly_config()
    config.num_devices = 1
    game = make_game(config, specs.images((8, 8, 1)), None)
    moment = stub.turn(game, stub.images((16, 8, 8, 1)))
    moved = stub.loss(game, "generator", moment)[1].mutable
    assert set(moved) == {"encoder", "generator", "second_encoder"}
    for name, own in moved.items():
        start = moment.variables[name]["batch_stats"]
        for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(own["batch_stats"]), strict=True):
            assert np.abs(a - b).max() > 1e-5
    assert set(stub.loss(game, "discriminator", moment)[1].mutable) <= {"discriminator"}


def test_it_reconstructs_images_of_its_own_size():
    game = make_game(mlp_config(), specs.images(SHAPE), None)
    assert isinstance(game, TranslationGame)
    assert isinstance(game, DetectionGame)
    assert not isinstance(game, GenerativeGame)
    with pytest.raises(errors.ConfigError, match=r"^what is for runs that make samples from noise"):
        as_generative(game, "what")
    (direction,) = game.directions.values()
    assert (direction.inputs, direction.outputs, direction.multiple) == (1, 1, 4)
    assert direction.exact
    batch = jnp.asarray(stub.images((5, *SHAPE)))
    example = game.examples(stub.fields(game, batch), None)
    np.testing.assert_array_equal(example.inputs, example.target)
    assert (example.known, game.degradation, game.memory) == (None, None, {})


def test_scores_depend_on_their_own_image_alone():
    config = tiny.anomaly_config()
    game = make_game(config, specs.images((8, 8, 1)), None)
    moment = stub.turn(game, stub.images((8, 8, 8, 1)))
    compute = jax.jit(game.anomaly_scores)
    together = compute(moment.variables, moment.batch["image"])
    for i in range(0, 8, 4):
        apart = compute(moment.variables, moment.batch["image"][i : i + 4])
        np.testing.assert_allclose(apart, together[i : i + 4], rtol=1e-5)


@pytest.mark.slow
def test_a_run_never_sees_the_classes_that_are_left_out(tmp_path, monkeypatch):
    config = mlp_config()
    config.data.without = ("3", "5")
    config.train.update(steps=2, log_every=1)
    seen = []
    original = sources.Subset.read

    def read(self, indices):
        rows = original(self, indices)
        seen.extend(np.unique(rows["label"]).tolist())
        return rows

    monkeypatch.setattr(sources.Subset, "read", read)
    loop.train(config, tmp_path)
    assert set(seen) == set(range(10)) - {3, 5}
    run = open_run(tmp_path)
    assert run.steps == [2]
    config.data.without = ()
    whole, part = sources.make_source(config.data), sources.make_source(run.config.data)
    labels = sources.labels_of(whole)
    assert len(part) == (~np.isin(labels, (3, 5))).sum()
    # Another class left out is another data set: such a run is not gone on with.
    assert part.fingerprint() != whole.fingerprint()
    config.data.without = ("3",)
    with pytest.raises(errors.GanJaxError, match=r"data\.without"):
        loop.train(config, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"generator.conditioning": "concat"},
            r"generator\.conditioning = 'concat'; accepted for game\.name = 'anomaly'.*'none'",
        ),
        ({"discriminator.conditioning": "projection"}, r"discriminator\.conditioning = 'proj"),
        ({"penalty.name": "r1"}, r"penalty\.name = 'r1'; accepted for game\.name = 'anomaly'"),
        ({"augment.diffaug.policy": ("color",)}, r"augment\.diffaug\.policy = .*color.*'anomaly'"),
        ({"fakes.top_k": 0.5}, r"fakes\.top_k = 0\.5; .*'anomaly'.*: 1\.0"),
        ({"game.clip": 0.01}, r"game\.clip = 0\.01; accepted for game\.name = 'anomaly'"),
        ({"game.discriminator_steps": 0}, r"game\.discriminator_steps = 0; accepted: 1 or more"),
        ({"encoder.name": "resnet"}, r"encoder\.name = 'resnet' is unknown; accepted: dcgan, mlp"),
        *[
            ({f"game.anomaly.{n}": -1.0}, rf"game\.anomaly\.{n} = -1\.0; accepted: 0 or more")
            for n in ("pixel_weight", "latent_weight", "adversarial_weight")
        ],
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    config = mlp_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=message):
        make_game(config, specs.images(SHAPE, 10), None)


def test_images_that_are_not_square_are_refused():
    message = r"data\.resolution = \(8, 12\); accepted for game\.name = 'anomaly': one number"
    with pytest.raises(errors.ConfigError, match=message):
        make_game(mlp_config(), specs.images((8, 12, 1), 10), None)


def test_points_are_refused():
    with pytest.raises(errors.ConfigError, match=r"points .*; accepted for .* images"):
        make_game(mlp_config(), specs.points(), None)
