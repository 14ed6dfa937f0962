"""gan_jax: generative adversarial networks as pure functions, in JAX and Flax."""

__version__ = "0.1.0"
