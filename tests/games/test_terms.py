"""Terms of the players' losses: a contract for all, lazily, and what is refused."""

import dataclasses
import functools
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from gan_jax.data import spec as specs
from gan_jax.errors import ConfigError
from gan_jax.games import terms
from tests.devices import sharded
from tests.games import stub
from tests.games.term_games import SHAPES, started
from tests.training import tiny

PLAYERS = {name: term.players for name, term in {**terms.TERMS, "penalty": terms.Term}.items()}
CASES = [(f"{n}_{player}", n, player) for n, players in PLAYERS.items() for player in players]
every_term = parameterized.named_parameters(*CASES)


@dataclasses.dataclass(frozen=True)
class Case:
    """A term in a player's loss, ``(parameters, batch, memory) -> (loss, outcome)``, and that.

    What is expected has been computed one operation after the other, but with convolutional
    networks, which take seconds so.
    """

    function: object
    arguments: tuple
    expected: tuple


@functools.cache
def case(name, owner):
    """Return the case of a term and a player, its memory after one step of training."""
    game, turn = started(name)
    (player,) = (player for player in game.players if player.name == owner)
    params = {owner: turn.variables[owner]["params"]}

    def function(params, batch, memory, axis_name=None):
        changed = dataclasses.replace(turn, batch=batch, memory=memory, axis_name=axis_name)
        return player.loss(params, changed)

    memory = game.memory and {**game.memory, **stub.loss(game, owner, turn)[1].memory}
    arguments = jax.device_get((params, turn.batch, memory))
    compute = jax.jit(function) if name in SHAPES else function
    return Case(function, arguments, jax.device_get(compute(*arguments)))


class TestEveryTerm(chex.TestCase):
    """What holds for every entry of the registry, in the loss of each of its players."""

    @chex.variants(with_jit=True)
    @every_term
    def test_finite_scalars_and_a_memory_of_one_form_with_and_without_jit(self, name, owner):
        one = case(name, owner)
        chex.clear_trace_counter()
        function = self.variant(chex.assert_max_traces(one.function, n=1))
        function(*jax.tree.map(lambda x: x[::-1] if x.ndim else x, one.arguments))
        loss, outcome = function(*one.arguments)
        chex.assert_shape(list(outcome.metrics.values()), ())
        chex.assert_type([loss, *outcome.metrics.values()], jnp.float32)
        chex.assert_tree_all_finite((loss, outcome.metrics, outcome.memory))
        value = outcome.metrics[name]
        assert abs(value) > 1e-6
        chex.assert_trees_all_close(loss, outcome.metrics["adversarial"] + 2 * value, rtol=1e-5)
        for slot, memory in outcome.memory.items():
            chex.assert_trees_all_equal_shapes_and_dtypes(memory, one.arguments[2][slot])
        chex.assert_trees_all_close((loss, outcome), one.expected, rtol=1e-4, atol=1e-5)

    # SAN's gradient is not that of its value: no gradient flows into the features. Lengths of paths
    # jump where a LeakyReLU changes its slope.
    @parameterized.named_parameters(*(one for one in CASES if one[1] not in ("san", "path_length")))
    def test_gradients_agree_with_finite_differences(self, name, owner):
        params, *rest = case(name, owner).arguments

        @jax.jit
        def value(params):
            return case(name, owner).function(params, *rest)[1].metrics[name]

        check_grads(value, (params,), 1, ["rev"], atol=2e-2, rtol=2e-2, eps=1e-3)

    @every_term
    def test_two_devices_are_one(self, name, owner):
        one = case(name, owner)

        def local(*arguments):
            loss, outcome = one.function(*arguments, axis_name="data")
            return jax.lax.pmean((loss, outcome.metrics), "data"), outcome.memory

        split = sharded(local, (P(), P("data"), P()), count=2)
        loss, outcome = one.expected
        expected = (loss, outcome.metrics), outcome.memory
        chex.assert_trees_all_close(split(*one.arguments), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", terms.TERMS)
def test_fields_that_all_terms_have_are_checked(name):
    for field, value in (("weight", -1.0), ("every", 0), ("start", -1)):
        with pytest.raises(ConfigError, match=rf"terms\.{name}\.{field} = {value}; accepted: "):
            terms.TERMS[name](**{field: value})


# --- Any term. ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Drift(terms.Term):
    """The mean score of fakes times its moving average: a term with a memory."""

    name: ClassVar[str] = "drift"
    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    def init(self):
        return jnp.zeros((), jnp.float32)

    def __call__(self, context):
        mean = jnp.mean(context.fake.scores)
        value = mean * context.memory
        memory = 0.5 * context.memory + 0.5 * jax.lax.stop_gradient(mean)
        return terms.Added(value, {"drift_mean": mean}, memory)


@functools.cache
def drifting(player="discriminator", count=0, weight=3.0, **fields):
    """Return a player's loss, gradient and outcome with `Drift`, or without it at weight 0."""
    game, turn = stub.begin(tiny.point_config(), count=count)
    terms = {"drift": Drift(weight, **fields)} if weight else {}
    game = dataclasses.replace(game, terms=terms)
    memory = {"drift": jnp.float32(0.5)}
    return stub.play(game, player, dataclasses.replace(turn, memory=memory))


@pytest.mark.slow
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_term_reaches_its_players_with_its_gradient_and_memory(player):
    loss, gradient, outcome = drifting(player)
    plain, without, _ = drifting(player, weight=0.0)
    mean = outcome.metrics["drift_mean"]
    np.testing.assert_allclose(outcome.metrics["drift"], 0.5 * mean, rtol=1e-5)
    np.testing.assert_allclose(loss, plain + 3.0 * 0.5 * mean, rtol=1e-5)
    np.testing.assert_allclose(outcome.memory["drift"], 0.25 + 0.5 * mean, rtol=1e-5)
    gaps = jax.tree.map(lambda a, b: np.abs(a - b).max(), gradient, without)
    assert max(jax.tree.leaves(gaps)) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_a_lazy_term_is_scaled_and_rests_with_its_memory(count):
    lazy, eager, without = drifting(count=count, every=2), drifting(), drifting(weight=0.0)
    scale = 2.0 if count % 2 == 0 else 0.0
    expected = jax.tree.map(lambda f, b: b + scale * (f - b), eager[:2], without[:2])
    chex.assert_trees_all_close(lazy[:2], expected, rtol=1e-4, atol=1e-6)
    remembered = eager[2].memory["drift"] if scale else 0.5
    np.testing.assert_allclose(lazy[2].memory["drift"], remembered, rtol=1e-6)


def test_a_term_that_has_not_started_is_logged_and_remembers():
    loss, _, outcome = drifting(count=2, start=3)
    assert loss == outcome.metrics["adversarial"]
    assert outcome.metrics["drift"] != 0
    assert outcome.memory["drift"] != 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"terms.lecam.decay": 1.5}, "terms.lecam.decay = 1.5; accepted: a number in [0, 1)"),
        ({"terms.consistency.real_weight": -1.0}, "consistency.real_weight = -1.0; accepted: 0 or"),
        ({"terms.classification.fake_weight": -1.0}, "fake_weight = -1.0; accepted: 0 or more"),
        ({"generator.conditioning": "none"}, "generator.conditioning = 'none', but terms.class"),
        ({"discriminator.conditioning": "concat"}, "would give the classifier of terms.class"),
        ({"terms.information.categorical": (1,)}, "categorical = (1,); accepted: numbers from 2"),
        ({"terms.information.continuous": -1}, "continuous = -1; accepted: 0 or more"),
        ({"terms.information.hidden": -1}, "terms.information.hidden = -1; accepted: 0 or more"),
        ({"terms.information.weight": 1.0}, "generator.conditioning = 'concat'; accepted with"),
        (
            {"terms.information.weight": 1.0, "fakes.history": 8, "generator.conditioning": "none"},
            "fakes.history = 8: past fakes are stored without their codes; accepted with terms.inf",
        ),
        (
            {
                "terms.information.weight": 1.0,
                "generator.conditioning": "none",
                "generator.name": "stylegan2",
            },
            "generator.stylegan2.mixing = 0.9: an image of two styles has the codes of two latents",
        ),
        (
            {
                "terms.information.weight": 1.0,
                "generator.conditioning": "none",
                "generator.name": "dcgn",
            },
            "generator.name = 'dcgn' is unknown",
        ),
        ({"terms.information.categorical": (), "terms.information.continuous": 0}, "some code"),
        ({"penalty.weight": -1.0, "penalty.name": "r1"}, "penalty.weight = -1.0; accepted: 0 or"),
        (
            {"penalty.name": "r1", "penalty.r1.step": 0.01, "precision": "bfloat16"},
            "penalty.r1.step = 0.01 with precision = 'bfloat16'",
        ),
        ({"penalty.every": 0, "penalty.name": "r1"}, "penalty.every = 0; accepted: 1 or more"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    config = tiny.auxiliary_config()
    if "terms.information.weight" in fields:
        config.terms.classification.weight = 0.0
    config.update_from_flattened_dict(fields)
    assert message in stub.refusal(config, specs.points(3))


def test_what_the_data_do_not_have_is_refused():
    config = tiny.auxiliary_config()
    assert "generator.conditioning = 'concat' needs" in stub.refusal(config, specs.points())
    config = tiny.point_config()
    config.terms.consistency.weight = 1.0
    message = "terms.consistency.weight = 1.0 is for images, but the data are of kind"
    assert message in stub.refusal(config, specs.points())
