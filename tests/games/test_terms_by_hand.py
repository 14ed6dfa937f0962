"""Terms of the players' losses, each compared with what is computed by hand."""

import dataclasses
import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.augment import flip_shift
from gan_jax.data import spec as specs
from gan_jax.errors import ConfigError
from gan_jax.games import terms
from gan_jax.losses import classification, information, lecam
from gan_jax.losses.path_length import path_lengths
from gan_jax.networks import fastgan
from tests.games import stub
from tests.games.term_games import both, started
from tests.training import tiny


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["real", "fake"])
def test_consistency_compares_an_image_with_its_moved_self(kind):
    weights = {f"terms.consistency.{one}_weight": 3.0 * (one == kind) for one in ("real", "fake")}
    game, turn = started("consistency", **weights)
    data, verdicts = both(game, turn)
    moved = flip_shift.flip_shift(turn.keys(f"consistency/{kind}"), data[kind])
    change = verdicts[kind].scores - stub.verdict(game, turn, moved).scores
    _, outcome = stub.loss(game, "discriminator", turn)
    assert "consistency_real" in outcome.metrics or kind == "fake"
    for name, factor in ((f"consistency_{kind}", 1.0), ("consistency", 3.0)):
        np.testing.assert_allclose(outcome.metrics[name], factor * (change**2).mean(), rtol=1e-3)


def test_logit_centering_makes_paired_scores_opposite():
    game, turn = started("logit_centering", **{"loss.name": "relativistic_pairing"})
    _, verdicts = both(game, turn)
    expected = np.mean((verdicts["real"].scores + verdicts["fake"].scores) ** 2)
    loss, outcome = stub.loss(game, "discriminator", turn)
    np.testing.assert_allclose(outcome.metrics["logit_centering"], expected, rtol=1e-3)
    np.testing.assert_allclose(loss, outcome.metrics["adversarial"] + 2.0 * expected, rtol=1e-3)


def test_drift_is_the_mean_square_of_the_real_scores():
    game, turn = started("drift")
    _, verdicts = both(game, turn)
    expected = np.mean(verdicts["real"].scores ** 2)
    loss, outcome = stub.loss(game, "discriminator", turn)
    np.testing.assert_allclose(outcome.metrics["drift"], expected, rtol=1e-3)
    np.testing.assert_allclose(loss, outcome.metrics["adversarial"] + 2.0 * expected, rtol=1e-3)


def test_self_supervision_compares_reconstructions_with_the_image_and_the_quarter_drawn():
    game, turn = started("self_supervision")
    real = game.data(turn)
    keys = turn.keys("judge/real")
    judge = jax.jit(functools.partial(game.judge, turn.variables["discriminator"]))
    judged, _ = judge(real, turn.condition, keys=keys)
    whole, part = judged.heads[fastgan.WHOLE], judged.heads[fastgan.PART]
    assert whole.shape == (4, 16, 16, 1)
    assert part.shape == (4, 8, 8, 1)
    target = fastgan.quarters(keys, real)
    assert not np.allclose(target, fastgan.quarters(None, real))
    expected = np.mean(np.abs(whole - real)) + np.mean(np.abs(part - target))
    loss, outcome = stub.loss(game, "discriminator", turn)
    np.testing.assert_allclose(outcome.metrics["self_supervision"], expected, rtol=1e-4)
    np.testing.assert_allclose(loss, outcome.metrics["adversarial"] + 2.0 * expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"discriminator.name": "dcgan"}, "but discriminator.name = 'dcgan'; accepted: "),
        ({"discriminator.fastgan.decoder_features": 0}, "fastgan.decoder_features = 0; accepted: "),
    ],
)
def test_self_supervision_needs_decoders(fields, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        started("self_supervision", **fields)


def test_matching_shows_each_image_the_caption_of_its_partner_unless_they_agree():
    game, turn = started("matching", **{"terms.matching.mismatched": 0.25})
    # "red disc" and "disc the crimson" agree; "blue disc" and "red" do not.
    tokens = jnp.array([[2, 5, 0], [5, 1, 3], [4, 5, 0], [2, 0, 0]])
    turn = dataclasses.replace(turn, batch={**turn.batch, "label": tokens})

    @jax.jit
    def scores(images, label):
        return stub.verdict(game, turn, images, {"label": label}).scores

    fake = scores(jax.jit(lambda: stub.generated(game, turn))(), tokens)
    real, wrong = (
        scores(game.data(turn), label) for label in (tokens, tokens[jnp.array([1, 0, 3, 2])])
    )
    losses = [game.loss.discriminator(real, scores) for scores in (fake, wrong)]
    expected = 0.25 * (losses[1] - losses[0])[2:].sum() / 4
    assert abs(expected) > 1e-4
    loss, outcome = stub.loss(game, "discriminator", turn)
    np.testing.assert_allclose(outcome.metrics["matching"], expected, rtol=1e-3)
    np.testing.assert_allclose(outcome.metrics["mismatched_score"], wrong.mean(), rtol=1e-4)
    np.testing.assert_allclose(loss, losses[0].mean() + 2.0 * expected, rtol=1e-4)
    # Of a batch whose captions all agree there is nothing to reject.
    same = dataclasses.replace(turn, batch={**turn.batch, "label": tokens[jnp.array([0, 1, 0, 0])]})
    _, outcome = stub.loss(game, "discriminator", same)
    assert outcome.metrics["matching"] == 0.0


def test_matching_penalizes_the_gradient_at_real_images_and_their_sentences():
    fields = {"mismatched": 0.0, "penalty": 3.0, "power": 4.0}
    game, turn = started("matching", **{f"terms.matching.{n}": v for n, v in fields.items()})

    @jax.jit
    def gradients(x):
        total = lambda x, e: stub.verdict(game, turn, x, {"sentence": e}).scores.sum()  # noqa: E731
        sentence = stub.verdict(game, turn, x, turn.condition).heads["sentence"]
        return jax.grad(total, argnums=(0, 1))(x, sentence)

    squares = sum((g.reshape(4, -1) ** 2).sum(1) for g in gradients(game.data(turn)))
    _, outcome = stub.loss(game, "discriminator", turn)
    expected = (squares**2).mean()
    np.testing.assert_allclose(outcome.metrics["matching_penalty"], expected, rtol=1e-3)
    np.testing.assert_allclose(outcome.metrics["matching"], 3.0 * expected, rtol=1e-3)


def test_matching_needs_captions_and_pairs():
    neither = dict.fromkeys(("generator.conditioning", "discriminator.conditioning"), "none")
    with pytest.raises(ConfigError, match=r"discriminator\.conditioning = 'none'; accepted: 0, or"):
        started("matching", **neither)
    game, turn = started("matching")
    three = dataclasses.replace(turn, batch={name: x[:3] for name, x in turn.batch.items()})
    with pytest.raises(ConfigError, match="3 examples at once on a device cannot be divided into"):
        jax.eval_shape(lambda: stub.loss(game, "discriminator", three))


def test_path_length_needs_styles():
    message = "terms.path_length.weight = 2.0 needs a generator with styles, but generator.name = "
    with pytest.raises(ConfigError, match=f"{message}'mlp'; accepted: stylegan1, stylegan2, or"):
        started("path_length", **{"generator.name": "mlp"})


def test_path_length_is_the_spread_about_its_running_mean():
    game, turn = started("path_length", **{"terms.path_length.decay": 0.75})
    turn = dataclasses.replace(turn, memory={"path_length": jnp.float32(0.5)})
    _, outcome = stub.loss(game, "generator", turn)
    module, own = game.generator, turn.variables["generator"]
    z, keys = game.latents(turn.keys("latent")), turn.keys("path_length")
    options = {"keys": keys, "method": "styles", "mutable": ["style_average"]}
    styles, _ = module.apply(own, z, turn.condition, **options)
    drawn = turn.keys("path_length/pixels")
    noise = jnp.stack([jax.random.normal(key, (8, 8, 1)) for key in drawn])
    synthesize = functools.partial(module.apply, own, keys=keys, method="synthesize")
    lengths = jax.jit(path_lengths, static_argnums=0)(synthesize, styles, noise)
    mean = 0.75 * 0.5 + 0.25 * lengths.mean()
    np.testing.assert_allclose(outcome.memory["path_length"], mean, rtol=1e-4)
    value = ((lengths - mean) ** 2).mean()
    np.testing.assert_allclose(outcome.metrics["path_length"], value, rtol=1e-3)


def test_ambiguity_teaches_the_classes_of_real_data_and_hides_those_of_fakes():
    game, turn = started("ambiguity")
    _, verdicts = both(game, turn)
    logits = {kind: verdict.heads["class"] for kind, verdict in verdicts.items()}
    _, outcome = stub.loss(game, "discriminator", turn)
    expected = classification.cross_entropy(logits["real"], turn.batch["label"]).mean()
    for name in ("ambiguity", "class_real"):
        np.testing.assert_allclose(outcome.metrics[name], expected, rtol=1e-4)
    right = (logits["real"].argmax(-1) == turn.batch["label"]).mean()
    np.testing.assert_allclose(outcome.metrics["accuracy_real"], right)
    _, outcome = stub.loss(game, "generator", turn)
    p = jax.nn.softmax(logits["fake"])
    others = classification.ambiguity(logits["fake"]).mean()
    np.testing.assert_allclose(outcome.metrics["ambiguity"], others, rtol=1e-3)
    np.testing.assert_allclose(
        outcome.metrics["entropy_fake"], -(p * jnp.log(p)).sum(-1).mean(), rtol=1e-3
    )


@pytest.mark.parametrize(
    ("fields", "classes", "message"),
    [
        ({}, None, "needs the classes of the data, which have none; accepted: 0, or data"),
        ({}, 1, "needs the classes of the data, which have 1; accepted: 0, or data"),
        ({"generator.conditioning": "concat"}, 3, "generator.conditioning = 'concat'; accepted"),
        (
            dict.fromkeys(("generator.conditioning", "discriminator.conditioning"), "concat"),
            3,
            "with generator.conditioning = 'concat'; accepted: 'none'",
        ),
        ({"terms.classification.weight": 0.5}, 3, "terms.classification.weight = 0.5, which asks"),
    ],
)
def test_ambiguity_needs_classes_that_no_network_sees(fields, classes, message):
    config = tiny.point_config()
    config.update_from_flattened_dict({"terms.ambiguity.weight": 1.0, **fields})
    assert message in stub.refusal(config, specs.points(classes))


def test_lecam_moves_its_averages_and_begins_when_it_is_to():
    game, turn = started("lecam", **{"terms.lecam.start": 2})
    _, verdicts = both(game, turn)
    term = jnp.mean(lecam.lecam(verdicts["real"].scores, verdicts["fake"].scores, 0.0, 0.0))
    for count, begun in ((0, False), (2, True)):
        moment = dataclasses.replace(turn, count=jnp.int32(count))
        loss, outcome = stub.loss(game, "discriminator", moment)
        np.testing.assert_allclose(outcome.metrics["lecam"], term, rtol=1e-3)
        expected = outcome.metrics["adversarial"] + begun * 2.0 * term
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        for kind, average in outcome.memory["lecam"]._asdict().items():
            np.testing.assert_allclose(average, 0.01 * verdicts[kind].scores.mean(), rtol=1e-3)


def test_feature_matching_draws_the_means_of_the_last_features_together():
    game, turn = started("feature_matching")
    _, verdicts = both(game, turn)
    real, fake = (verdicts[kind].features[-1].mean(0) for kind in ("real", "fake"))
    _, outcome = stub.loss(game, "generator", turn)
    expected = ((real - fake) ** 2).mean()
    np.testing.assert_allclose(outcome.metrics["feature_matching"], expected, rtol=1e-3)


def test_orthogonal_sums_over_the_generators_kernels_but_the_embedding():
    kernels = {"Dense_0": {"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)}, "embedding": {}}
    kernels["Block_0"] = {"conv": {"kernel": 2.0 * jnp.ones((1, 1, 1, 2))}}
    kernels["embedding"] = {"embedding": jnp.ones((3, 3)), "kernel": jnp.ones((3, 3))}
    context = types.SimpleNamespace(own={"generator": {"params": kernels}})
    assert terms.TERMS["orthogonal"](1.0)(context).value == 2 * 1.0 + 2 * 4.0**2


@pytest.mark.slow
def test_classification_is_the_likelihood_of_the_class():
    weights = {"real_weight": 1.0, "fake_weight": 1.5, "generator_weight": 2.5}
    fields = {f"terms.classification.{name}": value for name, value in weights.items()}
    game, turn = started("classification", **fields)
    _, verdicts = both(game, turn)
    labels = turn.batch["label"]
    logits = {kind: one.heads["class"] for kind, one in verdicts.items()}
    loss = {kind: classification.cross_entropy(x, labels).mean() for kind, x in logits.items()}
    _, outcome = stub.loss(game, "discriminator", turn)
    expected = loss["real"] + 1.5 * loss["fake"]
    np.testing.assert_allclose(outcome.metrics["classification"], expected, rtol=1e-5)
    right = (np.argmax(logits["real"], 1) == labels).mean()
    np.testing.assert_allclose(outcome.metrics["accuracy_real"], right, rtol=1e-6)
    _, outcome = stub.loss(game, "generator", turn)
    np.testing.assert_allclose(outcome.metrics["classification"], 2.5 * loss["fake"], rtol=1e-5)


def test_without_the_weight_of_fakes_the_head_learns_from_real_data_alone():
    fields = {"terms.classification.real_weight": 0.0, "terms.classification.fake_weight": 0.0}
    game, turn = started("classification", **fields)
    _, gradient, _ = stub.play(game, "discriminator", turn)
    np.testing.assert_array_equal(gradient["discriminator"]["class_head"]["kernel"], 0.0)


@pytest.mark.slow
def test_information_is_the_likelihood_of_the_codes():
    fields = {"categorical_weight": 2.0, "continuous_weight": 0.5, "continuous": 2}
    fields = {f"terms.information.{name}": value for name, value in fields.items()}
    game, turn = started("information", **fields)
    _, verdicts = both(game, turn)
    z, heads = game.latents(turn.keys("latent")), verdicts["fake"].heads
    expected = 0.5 * information.gaussian_code(heads["continuous"], z[:, 7:]).mean()
    for name, place in (("category_0", slice(2, 5)), ("category_1", slice(5, 7))):
        value = jnp.argmax(z[:, place], 1)
        expected += 2.0 * classification.cross_entropy(heads[name], value).mean()
    for name in ("discriminator", "generator"):
        _, outcome = stub.loss(game, name, turn)
        np.testing.assert_allclose(outcome.metrics["information"], expected, rtol=1e-5)
