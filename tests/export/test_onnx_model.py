"""ONNX models of what a run computes, against JAX on ONNX Runtime.

jax2onnx requires an older Orbax, so that no extra of this project installs it: docs/export.md.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.export import onnx_model
from gan_jax.export.computations import Computation, Input
from tests.export.test_stablehlo import MADE, TRANSLATION, of_configuration

pytest.importorskip("jax2onnx", reason="needs pip install --no-deps jax2onnx, see docs/export.md")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
# The converter pads and resizes batches of a fixed size only.
FIXED = ("lapgan", "r3gan", "stylegan1", "stylegan2")
# It has no transposed convolution of videos, no cubic interpolation like JAX's, no scan of Flax's.
REFUSED = {"videogan": {}, "srgan": {"batch": 1}, "mocogan": {}}
CONVERTED = [name for name in (*MADE, *TRANSLATION) if name not in REFUSED]
QUICK = ("acgan", "pix2pix", "stylegan2")


def varied(network):
    """Return random variables of a network, with positive variances."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path, x):
        values = rng.normal(size=x.shape) / np.sqrt(max(1, np.prod(x.shape[:-1])))
        values = np.abs(values) + 0.5 if "var" in jax.tree_util.keystr(path) else values
        return values.astype(x.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.exhaustive] * (n not in QUICK)) for n in CONVERTED]
)
def test_onnx_runtime_makes_what_jax_makes(name, monkeypatch):
    monkeypatch.setattr("tests.export.test_stablehlo.alike", varied)
    made = of_configuration(name)[0]
    if name in FIXED:
        with pytest.raises(errors.ConfigError, match="any size; accepted: --sizes=batch=1"):
            onnx_model.converted(made, {})
    model = onnx_model.converted(made, {"batch": 2} if name in FIXED else {})
    assert model.difference < 1e-5
    assert [one[0] for one in model.shapes] == [2 if name in FIXED else "batch"] * len(model.shapes)
    session = onnxruntime.InferenceSession(model.content, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == [one.name for one in made.inputs]
    rng = np.random.default_rng(1)
    for batch in (2,) if name in FIXED else (1, 5):
        arrays = [
            rng.integers(0, 2, shape).astype(one.dtype)
            if one.dtype == "int32"
            else rng.uniform(-1, 1, shape).astype(one.dtype)
            for one, shape in zip(
                made.inputs, [(batch, *shape[1:]) for shape in model.shapes], strict=True
            )
        ]
        (found,) = session.run(None, {i.name: x for i, x in zip(made.inputs, arrays, strict=True)})
        wanted = np.asarray(jax.jit(made.function)(*arrays))
        assert np.ptp(wanted) > 0.005
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def computation(function, shape="batch, 4*height, 3", **options):
    return Computation("generator", (Input("x", shape, "float32", ""),), "", function, **options)


def test_sizes_are_those_given_or_of_the_training():
    made = computation(jnp.tanh, sizes={"height": 8})
    assert onnx_model.converted(made, {}).shapes == [("batch", 8, 3)]
    assert onnx_model.converted(made, {"height": 12, "batch": 2}).shapes == [(2, 12, 3)]
    with pytest.raises(errors.ConfigError, match="height = 10; accepted: a multiple of 4 above 0"):
        onnx_model.converted(made, {"height": 10})


def test_what_cannot_be_converted_is_refused(monkeypatch):
    for name, sizes in REFUSED.items():
        made = of_configuration(name)[0]
        with pytest.raises(errors.ConfigError, match="generator cannot be converted to ONNX"):
            onnx_model.converted(made, sizes)
    monkeypatch.setattr(onnx_model, "_run", lambda model, arrays: np.tanh(arrays[0]) + 0.01)
    made = computation(jnp.tanh, "batch, 3")
    with pytest.raises(errors.ConfigError, match=r"differs from JAX by up to 0\.01; accepted"):
        onnx_model.converted(made, {})
