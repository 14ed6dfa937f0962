"""Text games: the likelihood's closed form, the temperature, devices, and resuming."""

import copy
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import mle, seqgan, textgan
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.errors import ConfigError
from gan_jax.games.game import Turn
from gan_jax.inference import sample_run
from gan_jax.inference.sample_request import Request
from gan_jax.networks.textgan import TEMPERATURE
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from tests.games import stub
from tests.training import tiny

MAKE = {
    "textgan": tiny.text_config,
    "mle": tiny.likelihood_config,
    "seqgan": tiny.policy_config,
}


def test_the_likelihood_of_an_untrained_generator_is_nearly_uniform():
    config = tiny.likelihood_config()
    config.num_devices = 1
    game = build.make_training(config, tiny.spec(config)).game

    @jax.jit
    def loss():
        variables = {n: one.init(jax.random.key(0)) for n, one in game.networks.items()}
        return game.loss({}, turn(variables, token=1))

    total, outcome = loss()
    # Five tokens of four.
    assert float(total) == pytest.approx(5 * np.log(4), rel=0.2)
    assert outcome.metrics == {}
    assert list(game.networks) == ["generator"]


@functools.cache
def policy():
    """Return a game of policy gradients, and its variables with a discriminator of zeros."""
    config = tiny.policy_config()
    config.num_devices = 1
    game = build.make_training(config, tiny.spec(config)).game
    state = jax.jit(lambda: {n: one.init(jax.random.key(0)) for n, one in game.networks.items()})()
    params = jax.tree.map(np.zeros_like, jax.device_get(state["discriminator"]["params"]))
    return game, {**state, "discriminator": {"params": params}}


def turn(variables, key=None, token=0):
    """Return a turn whose real texts are of one token alone."""
    text = jax.nn.one_hot(jnp.full((64, 5), token), 4)
    key = jax.random.key(0) if key is None else key
    return Turn(variables, {"text": text}, key, jnp.int32(0), None)


def liking(params):
    """Return parameters of a discriminator with a score above 0 for the token 2 alone."""
    params = copy.deepcopy(params)
    params["embedding"]["kernel"][2] = 9.0
    params["GRUCell_0"]["in"]["kernel"] = 9.0 * np.eye(8, dtype=np.float32)
    params["score"] = {"kernel": np.ones((8, 1), np.float32), "bias": np.float32([-3.0])}
    return params


def test_the_discriminator_of_a_policy_tells_tokens_apart_and_predicts_returns():
    game, variables = policy()
    params = variables["discriminator"]["params"]
    loss = jax.jit(
        lambda p, t: game.discriminator_loss({"discriminator": p}, turn(variables, None, t))
    )
    # A score of 1 and a value of 0.4 for every token.
    known = copy.deepcopy(params)
    known["score"]["bias"], known["value"]["bias"] = np.float32([1.0]), np.float32([0.4])
    total, outcome = loss(known, 0)
    cross_entropy = np.log1p(np.exp(-1.0)) + np.log1p(np.exp(1.0))
    assert float(outcome.metrics["adversarial"]) == pytest.approx(cross_entropy, rel=1e-5)
    returns = np.tanh(0.5) * np.array([sum(0.23**i for i in range(n)) for n in (5, 4, 3, 2, 1)])
    error = np.square(0.4 - returns).mean()
    assert float(outcome.metrics["value_error"]) == pytest.approx(error, rel=1e-5)
    assert float(total) == pytest.approx(cross_entropy + error, rel=1e-5)
    # One that likes what is real has a lower loss than one that likes what is not.
    likes = liking(params)
    right, wrong = (float(loss(likes, token)[1].metrics["adversarial"]) for token in (2, 0))
    assert right < 2 * np.log(2) < wrong


def test_a_policy_writes_what_the_discriminator_takes_for_real():
    game, variables = policy()
    variables = {
        **variables,
        "discriminator": {"params": liking(variables["discriminator"]["params"])},
    }

    @jax.jit
    def trained(own):
        def step(own, key):
            loss = lambda p: game.generator_loss({"generator": p}, turn(variables, key))  # noqa: E731
            slopes, outcome = jax.grad(loss, has_aux=True)(own)
            return jax.tree.map(lambda p, s: p - 0.5 * s, own, slopes), outcome.metrics["reward"]

        return jax.lax.scan(step, own, jax.random.split(jax.random.key(0), 10))[1]

    rewards = trained(variables["generator"]["params"])
    assert rewards[0] < 0.0 < 0.5 < rewards[-1]


# The game of textgan has its own tests.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("textgan", marks=pytest.mark.exhaustive), "mle", "seqgan"]
)
def test_any_number_of_devices_trains_alike(name):
    config = tiny.sgd(MAKE[name]())
    chex.assert_trees_all_close(tiny.final(config, 8), tiny.final(config, 1), **tiny.TOLERANCE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, shared_steps):
    """Return a run of TextGAN, and one that was stopped within it."""
    folder = tmp_path_factory.mktemp("runs")
    config = tiny.text_config()
    config.data.toy_size, config.num_devices = 64, 1
    config.train.update(log_every=1, checkpoint_every=1, sample_every=2, keep_latest=8)
    with pytest.MonkeyPatch.context() as patch:
        loop.train(config, folder / "whole")
        tiny.stop_at(patch, 2)
        assert loop.train(config, folder / "parts").step == 2
        tiny.stop_at(patch, None)
        assert loop.train(config, folder / "parts").state == "done"
    return folder / "whole", folder / "parts"


shared_steps = tiny.shared_steps


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(runs):
    whole, parts = (tiny.bits(open_run(path).state()) for path in runs)
    assert [name for name in whole if whole[name] != parts[name]] == []


@pytest.mark.slow
def test_the_temperature_follows_the_examples_that_were_seen(runs):
    # Two batches of 16 in each step; 96 examples from 1 to 0.5.
    run = open_run(runs[0])
    for step, share in ((1, 1 / 3), (2, 2 / 3), (3, 1.0), (6, 1.0)):
        found = run.state(step).networks["generator"].mutable[TEMPERATURE]["value"]
        assert float(found) == pytest.approx(0.5**share)


@pytest.mark.slow
def test_samples_are_written_as_lines_and_do_not_depend_on_the_batch(runs):
    run = open_run(runs[0])
    lines = (runs[0] / "samples" / "00000006.txt").read_text("utf-8").split("\n")
    assert len(lines) == 16 + 1
    assert set(" ".join(lines).split()) <= set(specs.data_field(run.game.spec).vocabulary)
    one, other = (run.sample(8, seed=3, batch_size=size) for size in (8, 3))
    assert one.shape == (8, 11)
    np.testing.assert_array_equal(one, other)
    # Every sample is drawn by itself.
    assert len(np.unique(one, axis=0)) > 4


@pytest.mark.slow
def test_samples_are_written_to_lines_files_and_arrays(runs, tmp_path):
    run = open_run(runs[0])
    samples = run.sample(5)
    expected = kinds.of(specs.data_field(run.game.spec)).lines(samples)
    sample_run.grid(Request(run, num=5, out=tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_text("utf-8").split("\n") == [*expected, ""]
    sample_run.export(Request(run, num=5, out=tmp_path / "files"), archive=False)
    files = sorted((tmp_path / "files").glob("*.txt"))
    assert [file.read_text("utf-8") for file in files] == [f"{line}\n" for line in expected]
    sample_run.export(Request(run, num=5, out=tmp_path / "a.npz"), archive=True)
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["text"], samples)
        words = arrays["vocabulary"][arrays["text"]]
        assert " ".join(words[0]).strip() == expected[0]
    with pytest.raises(ConfigError, match=r"a\.png with samples of kind 'text'; accepted: a \.txt"):
        sample_run.grid(Request(run, num=5, out=tmp_path / "a.png"))
    with pytest.raises(ConfigError, match=r"--neighbours, .* kind 'text'; accepted: a \.txt"):
        sample_run.neighbours(Request(run), 2, "pixels", {})


def test_a_pool_of_past_fakes_holds_what_networks_see():
    config = tiny.text_config()
    config.fakes.history = 16
    game = build.make_training(config, tiny.spec(config)).game
    images, _ = jax.eval_shape(lambda: game.memory["history"].images)
    assert images.shape == (16, 5, 4)


@pytest.mark.parametrize(
    ("make", "fields", "spec", "message"),
    [
        (mle, {"generator.name": "mlp"}, "text", "'mlp' has no likelihood; accepted for game.name"),
        (mle, {"generator.conditioning": "concat"}, "text", "which has no classes: 'none'"),
        (mle, {"penalty.name": "r1"}, "text", "penalty.name = 'r1'; accepted for game.name = 'lik"),
        (
            seqgan,
            {"game.policy.discount": 1.5},
            "text",
            "game.policy.discount = 1.5; accepted: 0 to",
        ),
        (
            seqgan,
            {"discriminator.name": "mlp"},
            "text",
            "discriminator.name = 'mlp' is unknown; acc",
        ),
        (seqgan, {"generator.name": "mlp"}, "text", "accepted for game.name = 'policy': textgan"),
        (seqgan, {}, "image", "is a network for text, but one data point has shape (8, 8, 1)"),
        (mle, {}, "image", "is a network for text, but one data point has shape (8, 8, 1)"),
        (textgan, {}, "image", "is a network for text, but one data point has shape (8, 8, 1)"),
    ],
)
def test_what_cannot_work_is_refused(make, fields, spec, message):
    config = make.get_config("smoke")
    config.update_from_flattened_dict(fields)
    given = {"text": {"text": specs.text(5, "ab")}, "image": specs.images((8, 8, 1))}[spec]
    assert message in stub.refusal(config, given)
