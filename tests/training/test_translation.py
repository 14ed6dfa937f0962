"""Games of images in training: devices and restarts."""

import chex
import jax
import numpy as np
import pytest

from gan_jax.data import spec as specs
from gan_jax.data.degrade import make as degradation
from gan_jax.games.paired import PairedGame
from gan_jax.losses import adversarial
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from gan_jax.training import parallel, step
from gan_jax.training.ema import EMA
from gan_jax.training.preparation import Prepare
from tests.games import stub
from tests.training import tiny
from tests.training.images import CONFIGS, unpaired, with_stubs

pytestmark = pytest.mark.usefixtures("shared_steps")


# --- Devices. -------------------------------------------------------------------------------------


def restoration(**fields):
    """Return a game that fills boxes, with networks of a few numbers and noise in them."""
    options = {
        "generator": stub.Affine(0.5, 0.1, noise=0.2, outputs=1),
        "discriminator": stub.Patches((1.0, 2.0)),
        "spec": specs.images((8, 8, 1)),
        "loss": adversarial.make("non_saturating"),
        "degradation": degradation("mask", kind="boxes"),
    }
    return PairedGame(**{**options, **fields})


def final(game, config, devices, mode="shard_map", steps=4):
    """Train a game on random crops of random images, and return its state."""
    optimizers = build.make_optimizers(tiny.sgd(config), game)
    train_step = step.make_train_step(
        game,
        optimizers,
        EMA(half_life=100.0),
        batch_size=16,
        prepare=Prepare(
            tiny.spec(config, None),
            config.data.flip,
            config.data.crop,
            config.data.pairing == "domains",
        ),
    )
    mapped = parallel.Parallel(train_step, mode, parallel.data_parallel(jax.devices()[:devices]))
    traced = mapped.trace_init(lambda: step.init_state(game, optimizers, EMA(half_life=100.0), 0))
    state = mapped.lower_init(traced)()()
    rows = tiny.data(config)
    rows.pop("label", None)
    data = mapped.put_replicated(rows)
    rng = np.random.default_rng(7)
    names = ["a", "b"] if config.data.pairing == "domains" else ["index"]
    for _ in range(steps):
        batch = mapped.put_batch({n: rng.integers(0, 64, (1, 1, 16), "int32") for n in names})
        state, _ = mapped(state, data, batch)
    return tiny.host(state)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mode"), [("paired", "shard_map"), ("cycle", "pmap")])
def test_draws_pools_and_phases_are_alike_on_any_number_of_devices(kind, mode):
    """Crops, flips, holes, dropout, past fakes: all belong to examples, not to devices."""
    config = CONFIGS[kind]()
    assert config.data.flip
    assert config.data.crop == 8
    game = unpaired() if kind == "cycle" else restoration(content_steps=2)
    one = final(game, config, 1)
    chex.assert_trees_all_close(final(game, config, 2, mode), one, **tiny.TOLERANCE)
    if kind == "cycle":
        assert [int(pool.count) for pool in one.game.values()] == [20, 20]


@pytest.mark.slow
def test_anomaly_detection_trains_alike_on_any_number_of_devices():
    config = tiny.sgd(tiny.mlp_anomaly_config())
    chex.assert_trees_all_close(tiny.final(config, 2), tiny.final(config, 1), **tiny.TOLERANCE)


# --- Restarts. ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "when"),
    # Apart from the content phase, which its step count decides, a paired game has no state.
    [pytest.param("paired", 1, marks=pytest.mark.exhaustive), ("cycle", 3)],
)
def test_a_stopped_run_goes_on_bit_for_bit(kind, when, tmp_path, monkeypatch):
    """Stopped while content is learnt; when the pools are full."""
    config = with_stubs(CONFIGS[kind](), monkeypatch)
    config.num_devices = 1
    config.ema.half_life = 100.0
    config.game.paired.content_steps = 2
    config.train.update(steps=4, log_every=2, checkpoint_every=100, sample_every=100)
    assert loop.train(config, tmp_path / "whole").state == "done"
    tiny.stop_at(monkeypatch, when)
    result = loop.train(config, tmp_path / "parts")
    assert (result.state, result.step) == ("preempted", when)
    tiny.stop_at(monkeypatch, None)
    assert loop.train(config, tmp_path / "parts").state == "done"
    whole, parts = (open_run(tmp_path / name).state() for name in ("whole", "parts"))
    expected, found = tiny.bits(whole), tiny.bits(parts)
    assert [leaf for leaf in expected if expected[leaf] != found.get(leaf)] == []
    if kind == "cycle":
        for pool in whole.game.values():
            assert int(pool.count) == 20
            assert np.abs(pool.images).max((1, 2, 3)).min() > 0
