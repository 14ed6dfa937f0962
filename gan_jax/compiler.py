"""Options of XLA's compiler for programs of networks."""

import functools
import os

import jax

_FUSIONS = "xla_cpu_experimental_ynn_fusion_type"
# What is left to YNNPACK: by default, convolutions, too.
_OPTIONS = {_FUSIONS: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"}


@functools.cache
def options() -> dict[str, str]:
    """Return XLA's options for the default backend.

    On CPU, XLA leaves convolutions to YNNPACK, which runs a convolution of narrow images with few
    channels on one core; without it, each is divided among all cores. There are no options on other
    backends, with versions of XLA that do not know this one, and where ``$XLA_FLAGS`` has it.

    Side effect: JAX's backend is initialized.
    """
    if jax.default_backend() != "cpu" or _FUSIONS in os.environ.get("XLA_FLAGS", ""):
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _OPTIONS
