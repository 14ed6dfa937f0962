"""Which options XLA is given: where they are known and not chosen by the user."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import compiler
from gan_jax.device_map import DeviceMap
from gan_jax.layers.convolution import convolve
from gan_jax.runs import loop, rehearsal
from tests.training import tiny


@pytest.fixture(autouse=True)
def forget():
    """Find the options anew, also after the test."""
    options = compiler.options
    options.cache_clear()
    yield
    options.cache_clear()


def test_convolutions_are_not_left_to_ynnpack_but_products_are():
    def both(x, w):
        y = convolve(x, w, (1, 1), "SAME", "cpu")
        return y, y.reshape(-1, 64) @ w[0, 0]

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 16, 16, 64), (3, 3, 64, 64))]
    lowered = jax.jit(both).lower(*shapes)
    by_default = lowered.compile().as_text().count("__ynn_fusion")
    chosen = lowered.compile(compiler.options()).as_text().count("__ynn_fusion")
    # Where there are no options, nothing is to change.
    assert chosen == by_default - bool(compiler.options())


def test_train_steps_and_mapped_functions_are_compiled_with_them(monkeypatch, tmp_path):
    monkeypatch.setattr(compiler, "options", lambda: {"xla_no_such_option": "1"})
    mapped = DeviceMap(lambda shared, x: shared * x, batch_size=2)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        mapped(mapped.place(jnp.float32(2)), np.ones(2, np.float32))
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        loop.train(tiny.point_config(), tmp_path, dry_run=rehearsal.DryRun())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=-individual_dot"),
        ("backend", "cuda"),
        ("_OPTIONS", {"xla_no_such_option": "1"}),
    ],
)
def test_there_are_none_where_the_user_has_chosen_or_xla_does_not_know_them(
    monkeypatch, name, value
):
    if name == "XLA_FLAGS":
        monkeypatch.setenv(name, value)
    elif name == "backend":
        monkeypatch.setattr(jax, "default_backend", lambda: value)
    else:
        monkeypatch.setattr(compiler, name, value)
    assert compiler.options() == {}
