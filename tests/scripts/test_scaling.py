"""The scaling model in closed form, the bytes that it counts, and its command line."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.runs import build
from scripts import scaling
from scripts.scaling import Interconnect, Model, Reduced
from tests.training import tiny

ROOT = Path(__file__).parents[2]


def test_a_ring_sends_everything_nearly_twice():
    assert scaling.ring(1) == 0.0
    assert scaling.ring(2) == 1.0
    assert scaling.ring(4) == 1.5
    assert scaling.ring(1000) == pytest.approx(2.0, rel=2e-3)


def test_the_model_in_closed_form():
    model = Model(compute=0.1, latency=0.01, reduced=2e9, bandwidth=100e9)
    assert model.seconds(1) == 0.1
    assert model.seconds(2) == pytest.approx(0.1 + 0.01 + 2e9 / 100e9)
    assert model.seconds(8) == pytest.approx(0.1 + 0.01 + 1.75 * 2e9 / 100e9)
    assert model.efficiency(8) == pytest.approx(0.1 / 0.145)
    free = Model(0.1, 0.0, 2e9, math.inf)
    assert free.efficiency(512) == 1.0
    # Devices that share two cores compute as fast as two, however many there are.
    shared = Model(0.1, 0.0, 0.0, math.inf, cores=2)
    assert [shared.seconds(n) for n in (1, 2, 4, 8)] == pytest.approx([0.1, 0.1, 0.2, 0.4])


@pytest.mark.parametrize("cores", [None, 2])
def test_a_fit_recovers_what_made_the_times(cores):
    true = Model(0.05, 0.003, 1e8, 20e9, cores)
    devices = [1, 2, 4, 8]
    found = scaling.fit(devices, [true.seconds(n) for n in devices], 1e8, cores)
    assert found.compute == pytest.approx(true.compute, rel=1e-6)
    assert found.latency == pytest.approx(true.latency, rel=1e-6)
    assert found.bandwidth == pytest.approx(true.bandwidth, rel=1e-6)


def test_no_term_of_a_fit_is_negative():
    found = scaling.fit([1, 2, 4, 8], [0.1, 0.09, 0.09, 0.08], 1e8)
    assert found.latency == 0.0
    assert found.bandwidth == math.inf
    assert 0.08 < found.compute < 0.1


def test_a_fit_needs_the_time_on_one_device():
    with pytest.raises(errors.ConfigError, match="with 1 among them"):
        scaling.fit([2, 4], [1.0, 1.0], 1e8)


def test_a_projection_goes_by_the_slowest_connection_and_the_hops():
    two = Interconnect("", node=8, inside=400e9, across=50e9, source="")
    assert two.bandwidth(8) == 400e9
    assert two.bandwidth(9) == 50e9
    inside = scaling.project(two, 0.1, 1e9, 10, 1e-6, 8)
    assert inside.seconds(8) == pytest.approx(0.1 + 10 * 6 * 1e-6 + 1.75 * 1e9 / 400e9)
    across = scaling.project(two, 0.1, 1e9, 10, 1e-6, 64)
    assert across.seconds(64) == pytest.approx(0.1 + 10 * 12 * 1e-6 + 2 * 63 / 64 * 1e9 / 50e9)
    assert scaling.project(two, 0.1, 1e9, 10, 1e-6, 1).seconds(1) == 0.1


HLO = """HloModule jit_step

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %one = f32[4]{0} all-reduce(%x), replica_groups={{0,1}}, to_apply=%sum
}

%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %two = (f32[2,3]{1,0}, bf16[], /*index=2*/f32[]) all-reduce(%x, %y, %z), to_apply=%sum
  %got = f32[2,3]{1,0} get-tuple-element(%two), index=0
  %w = (s32[], f32[4]) while(%t), body=%inner, backend_config={"known_trip_count":{"n":"3"}}
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]) while(%t), body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %three = f32[7]{0} all-reduce-start(%x), to_apply=%sum
  %done = f32[7]{0} all-reduce-done(%three)
}
"""


def test_loops_reduce_as_often_as_they_run():
    found = scaling.reduced_by(HLO)
    assert found.bytes == 5 * (24 + 2 + 4 + 3 * 16) + 28
    assert found.scalars == 5 * (2 + 4)
    assert found.count == 5 * (1 + 3) + 1
    with pytest.raises(ValueError, match="unknown number of times"):
        scaling.reduced_by(HLO.replace('"n":"5"', ""))


def compiled(config):
    config.num_devices = 2
    training = build.make_training(config, tiny.shape(config))
    data, index = tiny.data(config), tiny.index_batch(config, training, 0)
    abstract = [
        {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in arrays.items()}
        for arrays in (data, index)
    ]
    program = training.parallel.compile(training.abstract_state, *abstract)
    return training, scaling.reduced_by(program.as_text())


def test_without_batch_statistics_gradients_are_all_that_is_reduced_beside_metrics():
    training, found = compiled(tiny.point_config())
    assert found.bytes - found.scalars == scaling.gradient_bytes(training)
    assert 0 < found.scalars <= 4 * len(training.abstract_state.metrics)


def test_batch_statistics_are_the_rest():
    training, found = compiled(tiny.image_config(critic_steps=2))
    gradients = scaling.gradient_bytes(training)
    parameters = {
        name: sum(np.prod(x.shape) for x in jax.tree.leaves(network.params))
        for name, network in training.abstract_state.networks.items()
    }
    assert gradients == 4 * (2 * parameters["discriminator"] + parameters["generator"])
    # Two moments of 8 channels: of the fakes of both critic steps, of the generator's own, of their
    # gradients, and the running ones. The last bias of the critic has the same gradient in both.
    assert found.bytes - found.scalars == gradients + 4 * (5 * 2 * 8 - 1)


def test_reduced_adds_up():
    assert Reduced(4, 2, 1) + Reduced(1, 1, 1).times(3) == Reduced(7, 5, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices=x"], "--devices has no numbers"),
        (["--devices=0,1"], "--devices has no numbers"),
        (["--devices=2,4"], "--devices lacks 1"),
        (["--batch_size=0"], "--batch_size=0; accepted: 1 or more"),
        (["--step_seconds=0"], "--step_seconds=0.0; accepted: above 0"),
        (["--config=nothing"], "configs/nothing.py does not exist"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert scaling.main(arguments) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.slow
def test_from_two_fake_devices_to_the_page(tmp_path):
    command = [
        *(sys.executable, "-m", "scripts.scaling", "--config=gan:smoke", "--devices=1,2", "--fake"),
        *("--batch_size=2", "--repeats=1", f"--json={tmp_path / 'rows.json'}"),
        *("--step_seconds=0.02", "--step_batch=50", f"--markdown={tmp_path / 'page.md'}"),
        "--project=dcgan:smoke",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    one, two = json.loads((tmp_path / "rows.json").read_text())
    assert (one["devices"], two["devices"]) == (1, 2)
    assert (one["batch_size"], two["batch_size"]) == (2, 4)
    assert one["gradient_bytes"] == two["gradient_bytes"]
    assert two["reduced_bytes"] - two["scalar_bytes"] == two["gradient_bytes"]
    assert two["seconds"] > 0
    page = (tmp_path / "page.md").read_text()
    assert page in ended.stdout
    assert "| H100, NVLink 4 and 400 Gb/s InfiniBand | 1 | 20.00 | 2,500 | 100.0% |" in page
    assert "given by `--step_seconds`" in page
    # What is projected is the other program, batch statistics and all.
    told = re.search(
        r"Of `dcgan:smoke`: ([\d,]+) bytes .* and ([\d,]+) with .*\n.*in (\d+) all-", page
    )
    gradients, reduced, count = (int(number.replace(",", "")) for number in told.groups())
    assert gradients == scaling.gradient_bytes(scaling.make_training("dcgan:smoke", 1, 1)[0])
    assert reduced - gradients > two["reduced_bytes"] - two["gradient_bytes"]
    assert count > two["all_reduces"]
    # Fake devices have no bandwidth, and none is told.
    assert "what partitioning costs" in page
    assert "bandwidth not seen" not in page
