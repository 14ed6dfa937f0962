"""A computation as an ONNX model, converted by jax2onnx and compared with JAX on ONNX Runtime.

jax2onnx requires an older Orbax than gan_jax does, but does not use it for this; so it is installed
without its dependencies, of which the extra ``onnx`` has those that are used.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

from gan_jax import errors
from gan_jax.export.computations import Computation
from gan_jax.layers import convolution

SUFFIX = ".onnx"
#: The largest difference from JAX that is accepted, of outputs in [-1, 1].
TOLERANCE = 1e-3
# Examples in the batch on which JAX and ONNX Runtime are compared.
_COMPARED = 3


class Model(NamedTuple):
    """A serialized ONNX model.

    Attributes:
      content: of the file.
      shapes: of the inputs, whose sizes are numbers or, such as "batch", free.
      difference: the largest one between the outputs of ONNX Runtime and of JAX.
    """

    content: bytes
    shapes: list[tuple[int | str, ...]]
    difference: float


def converted(made: Computation, sizes: Mapping[str, int]) -> Model:
    """Return a computation as an ONNX model.

    Args:
      made: the computation.
      sizes: of inputs, by symbol: "height" and "width", or "samples", which are those of the
        training unless they are given; and "batch", which is free unless it is given.

    Raises:
      ConfigError: a size does not suit the computation, an operation cannot be converted, or not
        for a batch of any size, or the model's outputs differ from JAX's.
    """
    chosen = {**made.sizes, **sizes}
    shapes = [tuple(_size(part, chosen) for part in one.shape.split(", ")) for one in made.inputs]
    model = _converted(made, shapes, free="batch" not in sizes)
    arrays = _examples(made, shapes)
    found = _run(model, arrays)
    wanted = np.asarray(jax.jit(made.function)(*arrays))
    difference = float(np.max(np.abs(found - wanted)))
    if not difference <= TOLERANCE:
        raise errors.ConfigError(
            f"the ONNX model of {made.name} differs from JAX by up to {difference:.2g}; accepted: "
            f"{TOLERANCE:g}. Its operations are not converted faithfully; use --format=stablehlo"
        )
    return Model(model, shapes, difference)


def _size(part: str, chosen: Mapping[str, int]) -> int | str:
    """Return the size that a part of a shape, such as ``4*height``, has."""
    factor, _, symbol = part.rpartition("*")
    if symbol.isdecimal():
        return int(symbol)
    if symbol not in chosen:
        return part
    multiple, size = int(factor or 1), chosen[symbol]
    errors.require(
        size >= 1 and size % multiple == 0, symbol, size, f"a multiple of {multiple} above 0"
    )
    return size


def _converted(made: Computation, shapes: list[tuple[int | str, ...]], *, free: bool) -> bytes:
    # Parts of jax2onnx that are not used here need other packages, and say so at length.
    for name in ("jax2onnx", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from jax2onnx import to_onnx

    scope = export.SymbolicScope()
    arguments = [
        jax.ShapeDtypeStruct(export.symbolic_shape(", ".join(map(str, shape)), scope=scope), dtype)
        for shape, dtype in zip(shapes, (one.dtype for one in made.inputs), strict=True)
    ]
    names = [one.name for one in made.inputs]
    try:
        with convolution.implemented("xla"):
            model = to_onnx(made.function, arguments, model_name=made.name, input_names=names)
    except jax.errors.InconclusiveDimensionOperation as error:
        if not free:
            raise
        raise errors.ConfigError(
            f"{made.name} cannot be converted for batches of any size; accepted: --sizes=batch=1, "
            "or another size"
        ) from error
    except (NotImplementedError, TypeError) as error:
        # A TypeError where an operation that jax2onnx replaces has to return numbers, as in scans.
        reason = str(error).partition("\n")[0]
        raise errors.ConfigError(
            f"{made.name} cannot be converted to ONNX: {reason}; use --format=stablehlo"
        ) from error
    content: bytes = model.SerializeToString()
    return content


def _examples(made: Computation, shapes: list[tuple[int | str, ...]]) -> list[np.ndarray]:
    """Return random inputs in [-1, 1], and labels 0."""
    draw = np.random.default_rng(0).uniform
    arrays = []
    for one, shape in zip(made.inputs, shapes, strict=True):
        sizes = [_COMPARED if isinstance(size, str) else size for size in shape]
        zeros = np.zeros(sizes, one.dtype)
        integers = np.issubdtype(zeros.dtype, np.integer)
        arrays.append(zeros if integers else draw(-1.0, 1.0, sizes).astype(one.dtype))
    return arrays


def _run(model: bytes, arrays: list[np.ndarray]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]
