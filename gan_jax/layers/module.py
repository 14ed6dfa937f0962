"""What layers that networks have many of share."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from flax.errors import ScopeParamShapeError


class Module(nn.Module):
    """A module whose parameters are found sooner.

    Flax checks the shape of a parameter that exists by tracing its initializer, which takes a tenth
    of the time in which a train step is traced. Here it is compared with the shape that the
    initializer is given as its first argument.
    """

    @nn.nowrap
    def param(self, name: str, init_fn: Callable[..., Any], *init_args: Any, **options: Any) -> Any:
        """Return a parameter; see `flax.linen.Module.param`."""
        exists = not self.is_initializing() and self.has_variable("params", name)
        if not (exists and init_args) or options:
            return super().param(name, init_fn, *init_args, **options)
        value: Any = self.get_variable("params", name)
        shape = tuple(init_args[0])
        if value.shape != shape:
            raise ScopeParamShapeError(name, "/".join(self.path), value.shape, shape)
        return value
