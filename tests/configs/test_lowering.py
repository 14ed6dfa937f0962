"""Every configuration's train step can be lowered for GPUs and TPUs, without one at hand.

Traced as for an accelerator, in bfloat16. The accelerator's own compiler is not tested here; the
script `scripts.device_report` runs the step on an accelerator.
"""

import re

import jax
import numpy as np
import pytest

from gan_jax.data.sources.draws import random_arrays
from gan_jax.runs import build
from tests.configs import variants
from tests.configs.builds import small, spec
from tests.configs.test_variants import ALIKE


def struct(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.exhaustive] * (n in ALIKE)) for n in variants.NAMES]
)
def test_train_steps_lower_for_accelerators(name, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # Chooses our convolutions.
    config = small(name)
    config.precision = "bfloat16"
    stored = spec(config, variants.datasets(name)[0])
    training = build.make_training(config, stored)
    names = ["a", "b"] if config.data.pairing == "domains" else ["index"]
    index = np.zeros((1, build.data_batches(training), 4), np.int32)
    data = jax.tree.map(struct, random_arrays(stored, 4))
    step = jax.jit(lambda *arguments: training.parallel(*arguments))
    traced = step.trace(training.abstract_state, data, dict.fromkeys(names, struct(index)))
    lowered = traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
    convolutions = [line for line in lowered.splitlines() if "stablehlo.convolution" in line]
    # The layer that makes a score or an image is a float32 one.
    inner = [line for line in convolutions if not re.search("x[13]xf32>", line)]
    assert all(line.rstrip().endswith("bf16>") for line in inner)
    assert bool(inner) == bool(convolutions)
    if "generator" in training.abstract_state.networks and config.generator.name == "dcgan":
        # Strided, which the lowering for CPUs is not.
        assert any("lhs_dilate = [2, 2]" in line for line in convolutions)
