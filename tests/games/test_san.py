"""SAN as a term: which part of the discriminator each loss trains, and what is refused."""

import dataclasses

import chex
import numpy as np

from gan_jax.data import spec as specs
from tests.games import stub
from tests.games.term_games import both, started
from tests.training import tiny


def test_san_turns_the_last_layer_and_leaves_the_rest_as_it_is():
    game, turn = started("san")
    plain, moment = started("san", **{"terms.san.weight": 0.0})
    own = turn.variables["discriminator"]["params"]
    same = {"Dense_1": own["DirectionDense_0"], "Dense_0": own["Dense_0"]}
    variables = {**turn.variables, "discriminator": {"params": same}}
    moment = dataclasses.replace(moment, variables=variables)
    _, verdicts = both(game, turn)
    real, fake = (verdicts[kind].heads["direction"][:, 0] for kind in ("real", "fake"))
    _, gradient, outcome = stub.play(game, "discriminator", turn)
    loss, expected, _ = stub.play(plain, "discriminator", moment)
    np.testing.assert_allclose(outcome.metrics["san"], np.mean(fake - real), rtol=1e-4)
    np.testing.assert_allclose(outcome.metrics["adversarial"], loss, rtol=1e-5)
    found, expected = gradient["discriminator"], expected["discriminator"]
    chex.assert_trees_all_close(found["Dense_0"], expected["Dense_0"], rtol=1e-4, atol=1e-6)
    # The norm is trained by the plain loss, and what is orthogonal to the kernel by the term.
    kernel = own["DirectionDense_0"]["kernel"]
    ours, theirs = found["DirectionDense_0"]["kernel"], expected["Dense_1"]["kernel"]
    np.testing.assert_allclose(np.sum(ours * kernel), np.sum(theirs * kernel), rtol=1e-3, atol=1e-6)
    features = [verdicts[kind].features[-1] for kind in ("fake", "real")]
    turned = 2.0 * (features[0].mean(0) - features[1].mean(0))[:, None]
    omega = kernel / np.linalg.norm(kernel)
    tangential, across = (x - omega * np.sum(omega * x) for x in (turned, ours))
    np.testing.assert_allclose(across, tangential, rtol=1e-3, atol=1e-6)
    assert np.abs(across - (theirs - omega * np.sum(omega * theirs))).max() > 1e-3
    (loss, gradient, _), (plain_loss, expected, _) = (
        stub.play(one, "generator", moment) for one, moment in ((game, turn), (plain, moment))
    )
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)
    chex.assert_trees_all_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_san_is_refused_where_the_last_layer_is_not_one_kernel():
    config = tiny.auxiliary_config()
    config.terms.classification.weight = 0.0
    config.discriminator.conditioning = "projection"
    config.terms.san.weight = 1.0
    assert "but terms.san needs a last layer" in stub.refusal(config, specs.points(3))
    config.discriminator.update(conditioning="none", name="fastgan")
    config.generator.conditioning = "none"
    message = stub.refusal(config, specs.images((32, 32, 1)))
    assert "discriminator.name = 'fastgan' cannot predict direction" in message
