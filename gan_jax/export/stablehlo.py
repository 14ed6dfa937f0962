"""A computation as serialized StableHLO, which `jax.export` reads without gan_jax."""

from collections.abc import Sequence

import jax
from jax import export

from gan_jax import errors
from gan_jax.export.computations import Computation
from gan_jax.layers import convolution

SUFFIX = ".stablehlo"


def serialized(made: Computation, platforms: Sequence[str]) -> bytes:
    """Return what `jax.export.deserialize` reads: the computation, lowered for some platforms.

    Matrix products keep the precision that is JAX's when this function is called.

    Raises:
      ConfigError: the computation is not defined for batches of every size, such as that of a
        discriminator with the deviations of groups of examples.
    """
    scope = export.SymbolicScope(made.constraints)
    arguments = [
        jax.ShapeDtypeStruct(export.symbolic_shape(one.shape, scope=scope), one.dtype)
        for one in made.inputs
    ]
    try:
        # The lowering for CPUs is slow elsewhere, and is made for known sizes.
        with convolution.implemented("xla"):
            exported = export.export(jax.jit(made.function), platforms=platforms)(*arguments)
    except (jax.errors.InconclusiveDimensionOperation, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise errors.ConfigError(
            f"{made.name} cannot be exported for every size of its inputs: {reason}"
        ) from error
    return bytes(exported.serialize())
