"""Progressive growing: levels, real images, stages of the train step, checkpoints, settings."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import progan
from gan_jax.data import spec as specs
from gan_jax.games.game import Turn
from gan_jax.games.progressive import ProgressiveGame
from gan_jax.games.registry import make_game
from gan_jax.networks.progan import GROWTH
from gan_jax.report import writers
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from gan_jax.training import step as steps
from gan_jax.training.ema import EMA
from tests.games import stub
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("shared_steps")


def config(size=8):
    """Return a configuration of 8x8, two stages: steps 0, 1 at 4x4, 2 to 5 fading, 6, 7 stable."""
    c = progan.get_config("smoke")
    c.data.resolution = size
    c.penalty.name = "none"  # Compiles in a quarter of the time.
    c.generator.latent_dim = 3
    c.game.progressive.update(stable_images=32, fade_images=64)
    c.ema.update(half_life=100.0, ramp_up=None)
    c.train.update(steps=8, batch_size=16, sample_every=8, log_every=8, checkpoint_every=8)
    c.num_devices = 1
    return c


@functools.cache
def game(size=16, **schedule):
    c = config(size)
    c.game.progressive.update(schedule)
    return make_game(c, specs.images((size, size, 1)), None)


@pytest.mark.parametrize(
    ("images", "level", "stage"),
    [
        (0, 0.0, 0),
        (100, 0.0, 0),
        (101, 0.02, 1),
        (125, 0.5, 1),
        (150, 1.0, 1),
        (250, 1.0, 1),
        (275, 1.5, 2),
        (300, 2.0, 2),
        (2**31 - 1, 2.0, 2),
    ],
)
def test_the_level_rises_with_the_images_seen(images, level, stage):
    own = game(stable_images=100, fade_images=50)
    assert float(own.level(jnp.int32(images))) == pytest.approx(level, abs=1e-6)
    assert own.stage(jnp.int32(images)) == stage


@pytest.mark.parametrize(("images", "level"), [(99, 0), (100, 1), (199, 1), (200, 2), (900, 2)])
def test_without_fading_a_stage_is_there_at_once(images, level):
    assert game(stable_images=100, fade_images=0).level(jnp.int32(images)) == level


def test_there_is_a_stage_for_every_size():
    assert [one.generator.stage for one in game().stages] == [0, 1, 2]
    assert [one.discriminator.stage for one in game().stages] == [0, 1, 2]


def blocks(x, size):
    """Return the means over squares of an image's pixels, as squares."""
    side = x.shape[1] // size
    means = x.reshape(len(x), size, side, size, side, 1).mean((2, 4))
    return means.repeat(side, 1).repeat(side, 2), means


@pytest.mark.parametrize(
    ("stage", "level", "share"), [(0, 0.0, 1.0), (1, 0.25, 0.25), (2, 1.75, 0.75), (2, 2.0, 1.0)]
)
def test_real_images_are_averaged_and_faded_as_generated_ones(stage, level, share):
    images = stub.images((4, 16, 16, 1))
    turn = Turn(
        variables={"discriminator": {GROWTH: {"level": jnp.float32(level)}}},
        batch={"image": jnp.asarray(images)},
        key=jax.random.key(0),
        count=jnp.int32(0),
        axis_name=None,
    )
    size = 4 << stage
    _, fine = blocks(images, size)
    coarse, _ = blocks(fine, max(size // 2, 4))
    expected = share * fine + (1 - share) * coarse
    np.testing.assert_allclose(game().stages[stage].data(turn), expected, rtol=1e-4, atol=1e-6)


# --- The train step. ------------------------------------------------------------------------------

LEVELS = [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]  # After each step.


def averages():
    """Return the moving averages, after each step, of the levels that it was taken at."""
    found, decay = [0.0], 2 ** (-16 / 100)
    for level in (0, *LEVELS[:-1]):
        found.append(decay * found[-1] + (1 - decay) * level)
    return found[1:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, shared_steps):
    """Return a run over the border of two stages, and one that was stopped at it."""
    folder = tmp_path_factory.mktemp("runs")
    c = config()
    c.train.update(log_every=1, checkpoint_every=1, keep_latest=8)
    with pytest.MonkeyPatch.context() as patch:
        loop.train(c, folder / "whole")
        tiny.stop_at(patch, 3)
        assert loop.train(c, folder / "parts").step == 3
        tiny.stop_at(patch, None)
        assert loop.train(c, folder / "parts").state == "done"
    return folder / "whole", folder / "parts"


@pytest.fixture(scope="module")
def states(runs):
    """Return the state after each step of a run."""
    run = open_run(runs[0])
    assert run.steps == list(range(1, 9))
    return [tiny.host(run.state(step)) for step in run.steps]


@pytest.mark.slow
def test_a_run_stopped_at_a_border_goes_on_bit_for_bit(runs):
    whole, parts = (tiny.bits(open_run(path).state()) for path in runs)
    assert [name for name in whole if whole[name] != parts[name]] == []


@pytest.mark.slow
def test_states_have_the_level_of_their_step_and_their_averages_the_averaged_one(runs, states):
    for state, level, average in zip(states, LEVELS, averages(), strict=True):
        for network in state.networks.values():
            assert network.mutable[GROWTH]["level"] == level
        found = state.networks["generator"].ema[GROWTH]["level"]
        np.testing.assert_allclose(found, average, rtol=1e-4)
    logged = [row["generator/level"] for row in writers.read_rows(runs[0] / writers.METRICS)]
    assert logged == [0, *LEVELS[:-1]]


NEW = {"conv_1_0", "conv_1_1", "rgb_1"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_layers_rest_until_their_stage_begins_and_adam_begins_anew_with_it(states, name):
    networks = [state.networks[name] for state in states]
    adams = [network.opt_state[0] for network in networks]
    # The first step of stage 1 is that of the first level above 0.
    assert [int(adam.count) for adam in adams] == [1, 2, 3, 1, 2, 3, 4, 5]
    for layer in NEW:
        at = [network.params[layer] for network in networks]
        chex.assert_trees_all_equal(*at[:3])
        if name == "generator":
            chex.assert_trees_all_equal(at[0], networks[2].ema["params"][layer])
        assert not np.array_equal(at[2]["kernel"], at[3]["kernel"])
        assert not any(x.any() for x in jax.tree.leaves((adams[2].mu[layer], adams[2].nu[layer])))
    # The first step of Adam moves by the rate, whatever the gradient.
    moved = np.abs(networks[3].params["rgb_1"]["kernel"] - networks[2].params["rgb_1"]["kernel"])
    np.testing.assert_allclose(moved, 3e-3, rtol=1e-2)
    # Faded out, the coarser image has no weight.
    chex.assert_trees_all_equal(networks[5].params["rgb_0"], networks[7].params["rgb_0"])


@pytest.mark.slow
def test_any_number_of_devices_trains_alike():
    c = tiny.sgd(config())
    c.train.batch_size = 32  # A group of 4 on each device.
    eight, one = (tiny.final(c, devices, steps=5) for devices in (8, 1))
    chex.assert_trees_all_close(eight, one, **tiny.TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_is_that_of_the_game_of_its_stage(accumulate):
    c = config()
    whole = game(8)

    class Only(ProgressiveGame):
        stages = property(lambda self: (self,))

    fields = {
        field.name: getattr(whole.stages[1], field.name) for field in dataclasses.fields(whole)
    }
    optimizers, ema = build.make_optimizers(c, whole), EMA(100.0)
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 8, 8, 1), np.uint8)
    stepped = []
    for own in (whole, Only(**fields)):
        how = {"batch_size": 16, "accumulate": accumulate}
        take = jax.jit(steps.make_train_step(own, optimizers, ema, **how))
        state = jax.jit(lambda: steps.init_state(whole, optimizers, ema, 0))()
        level = whole.scheduled(jnp.int32(3 * 16))
        networks = {
            name: network.replace(mutable={**network.mutable, **level[name]})
            for name, network in state.networks.items()
        }
        state = state.replace(step=jnp.int32(3), networks=networks)
        stepped.append(take(state, {}, {"image": images}))
    new = stepped[0][0].networks["generator"].params
    old = state.networks["generator"].params
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), new, old)
    assert max(jax.tree.leaves(moved)) > 1e-4
    for one in stepped:
        chex.assert_tree_all_finite(one[1])
    chex.assert_trees_all_close(*((s.networks, m) for s, m in stepped), rtol=1e-5, atol=1e-6)


def test_replicas_keep_a_branch_of_each_stage():
    """Mapped over replicas, a branch chosen by a mapped number would become all branches."""
    c = config()
    c.train.replicas = 2
    training = build.make_training(c, tiny.spec(c))
    abstract = training.abstract_state
    data = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, tiny.data(c)))
    batch = {"index": jax.ShapeDtypeStruct((1, 2, 1, 16), jnp.int32)}
    program = str(jax.make_jaxpr(training.parallel)(abstract, data, batch))
    assert " cond[" in program


@pytest.mark.slow
@pytest.mark.parametrize("average", [True, False])
def test_samples_of_a_checkpoint_are_of_its_stage(runs, average):
    run = open_run(runs[0])
    levels = averages() if average else LEVELS
    for step in (2, 4, 8):
        found = run.variables(step, average)["generator"][GROWTH]["level"]
        np.testing.assert_allclose(found, levels[step - 1], rtol=1e-4)
        samples = run.sample(4, step=step, average=average).astype(np.float32)
        assert samples.shape == (4, 8, 8, 1)
        coarse, _ = blocks(samples, 4)
        assert np.array_equal(samples, coarse) == (step == 2)


# --- Settings. ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"game.progressive.stable_images": 0},
            "game.progressive.stable_images = 0; accepted: 1 or more",
        ),
        (
            {"game.progressive.fade_images": -1},
            "game.progressive.fade_images = -1; accepted: 0 or more",
        ),
        ({"fakes.history": 4}, "fakes.history = 4; accepted for game.name = 'progressive'"),
        ({"terms.transport.weight": 1.0}, "terms.transport.weight = 1.0; accepted for game.name"),
        ({"generator.name": "dcgan"}, "generator.name = 'dcgan' does not grow; accepted for game"),
        (
            {"discriminator.name": "dcgan"},
            "discriminator.name = 'dcgan' does not grow; accepted for game.name = 'progressive'",
        ),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    c = config()
    c.update_from_flattened_dict(fields)
    assert message in stub.refusal(c, specs.images((8, 8, 1)))
