"""Which options XLA is given: where they are known and not chosen by the user."""

import jax
import jax.numpy as jnp
import pytest

from gan_jax import compiler
from gan_jax.layers.convolution import convolve


@pytest.fixture(autouse=True)
def forget():
    """Find the options anew, also after the test."""
    compiler.options.cache_clear()
    yield
    compiler.options.cache_clear()


def test_convolutions_are_not_left_to_ynnpack_but_products_are():
    def both(x, w):
        y = convolve(x, w, (1, 1), "SAME", "cpu")
        return y, y.reshape(-1, 64) @ w[0, 0]

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 16, 16, 64), (3, 3, 64, 64))]
    lowered = jax.jit(both).lower(*shapes)
    by_default = lowered.compile().as_text()
    if "__ynn_fusion" not in by_default or not compiler.options():
        pytest.skip("this version of XLA leaves nothing to YNNPACK, or does not know the option")
    chosen = lowered.compile(compiler.options()).as_text()
    assert by_default.count("__ynn_fusion") == 2
    assert chosen.count("__ynn_fusion") == 1


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
