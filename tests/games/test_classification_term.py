"""AC-GAN: the classification term by hand, its weights, and what it refuses."""

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.losses import classification
from gan_jax.runs import build
from tests.training import tiny


def configuration():
    config = tiny.point_config()
    config.terms.classification.weight = 2.0
    config.generator.conditioning = "concat"
    return config


def class_logits(game, turn, images):
    verdict = game.discriminator.apply(
        turn.variables["discriminator"], images, None, train=True, method="judge"
    )
    return verdict.heads["class"]


def test_both_losses_are_the_plain_ones_and_the_likelihood_of_the_class(play):
    config = configuration()
    config.terms.classification.update(real_weight=1.0, fake_weight=1.5, generator_weight=2.5)
    game, params, turn = play(config)
    z = game.latents(turn.keys("latent"))
    fake = game.sample(turn.variables, z, turn.condition, train=True)
    real_term = classification.cross_entropy(
        class_logits(game, turn, specs.data(turn.batch, game.spec)), turn.batch["label"]
    )
    fake_term = classification.cross_entropy(class_logits(game, turn, fake), turn.batch["label"])

    loss, outcome = game.discriminator_loss({"discriminator": params["discriminator"]}, turn)
    expected = outcome.metrics["adversarial"] + 2.0 * real_term.mean() + 3.0 * fake_term.mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    loss, outcome = game.generator_loss({"generator": params["generator"]}, turn)
    np.testing.assert_allclose(
        loss, outcome.metrics["adversarial"] + 5.0 * fake_term.mean(), rtol=1e-5
    )
    right = np.argmax(class_logits(game, turn, specs.data(turn.batch, game.spec)), 1) == np.asarray(
        turn.batch["label"]
    )
    _, outcome = game.discriminator_loss({"discriminator": params["discriminator"]}, turn)
    np.testing.assert_allclose(outcome.metrics["accuracy_real"], right.mean(), rtol=1e-6)


def test_without_the_weight_of_fakes_the_head_learns_from_real_data_alone(play):
    def head_gradient(fake_weight):
        config = configuration()
        config.terms.classification.update(real_weight=0.0, fake_weight=fake_weight)
        game, params, turn = play(config)
        loss = lambda p: game.discriminator_loss({"discriminator": p}, turn)[0]  # noqa: E731
        return jax.grad(loss)(params["discriminator"])["class_head"]["kernel"]

    assert np.abs(head_gradient(1.0)).max() > 1e-3
    np.testing.assert_array_equal(head_gradient(0.0), 0.0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("generator.conditioning", "none", r"generator\.conditioning = 'none'.*accepted: 'concat'"),
        (
            "discriminator.conditioning",
            "concat",
            "would give the classifier of",
        ),
        ("terms.classification.fake_weight", -1.0, r"fake_weight = -1\.0; accepted: 0 or more"),
    ],
)
def test_what_cannot_work_is_refused(field, value, message):
    config = configuration()
    config.num_devices = 1
    config.update_from_flattened_dict({field: value})
    with pytest.raises(errors.ConfigError, match=message):
        build.make_training(config, specs.points(8))


def test_data_without_labels_are_refused():
    config = configuration()
    config.num_devices = 1
    with pytest.raises(errors.ConfigError, match=r"generator\.conditioning = 'concat' needs"):
        build.make_training(config, specs.points())
