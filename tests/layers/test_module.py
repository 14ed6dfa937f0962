"""Parameters are Flax's, but for how their shape is checked."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors

from gan_jax.layers.module import Module


class Layer(Module):
    """A layer of one or two parameters."""

    names: tuple[str, ...] = ("kernel",)
    make: object = nn.initializers.normal()

    @nn.compact
    def __call__(self, x):
        return sum(
            x @ self.param(name, self.make, (x.shape[-1], 2), x.dtype) for name in self.names
        )


class Plain(nn.Module):
    """One of Flax's."""

    @nn.compact
    def __call__(self, x):
        return x @ self.param("kernel", nn.initializers.normal(), (x.shape[-1], 2), x.dtype)


def test_a_new_parameter_is_that_of_flax_and_one_that_exists_is_used():
    x = jnp.ones((4, 3))
    variables, expected = (m.init(jax.random.key(5), x) for m in (Layer(), Plain()))
    jax.tree.map(np.testing.assert_array_equal, variables, expected)

    def refuse(*_):
        raise AssertionError("called")

    y = Layer(make=refuse).apply(variables, x)
    np.testing.assert_array_equal(y, x @ variables["params"]["kernel"])


def test_another_shape_a_missing_parameter_and_a_name_used_twice_are_refused():
    x = jnp.ones((4, 3))
    variables = Layer().init(jax.random.key(5), x)
    with pytest.raises(errors.ScopeParamShapeError, match=r"kernel.*\(4, 2\).*\(3, 2\)"):
        Layer().apply(variables, jnp.ones((4, 4)))
    with pytest.raises(errors.ScopeParamNotFoundError, match="bias"):
        Layer(("kernel", "bias")).apply(variables, x)
    with pytest.raises(errors.NameInUseError, match="kernel"):
        Layer(("kernel", "kernel")).init(jax.random.key(5), x)
