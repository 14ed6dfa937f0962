"""Random numbers of synthetic sources, and random data of any specification."""

import numpy as np

from gan_jax.data.spec import Spec


def uniform(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return float64 in [0, 1) from the high 53 bits of a raw Philox stream.

    They are the same on every machine and with every version of NumPy.
    """
    raw = np.random.Philox(key=seed % 2**64).random_raw(shape[0] * shape[1])
    return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)


def random_arrays(spec: Spec, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random examples, ``[count, ...]`` by field, for benchmarks and tests.

    Integers are uniform over all values of their dtype, labels over the classes, tokens over the
    vocabulary, and music over 0 and 1; floats are standard normal.
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, field in spec.items():
        shape, dtype = (count, *field.shape), np.dtype(field.dtype)
        if field.class_names is not None:
            arrays[name] = rng.integers(0, len(field.class_names), shape, dtype)
        elif field.vocabulary:
            arrays[name] = rng.integers(0, len(field.vocabulary), shape, dtype)
        elif field.kind == "music":
            arrays[name] = rng.integers(0, 2, shape, dtype)
        elif dtype.kind == "f":
            arrays[name] = rng.normal(size=shape).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            arrays[name] = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return arrays
