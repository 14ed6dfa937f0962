"""Install `gan_jax` as the only top-level package; everything else is in setup.cfg.

In the repository `experiments`, `configs` and `scripts` stand beside `gan_jax`. In a wheel they are
folders of `gan_jax/programs`, where `gan_jax/installation.py` finds them, so that a user's
environment has no packages with such general names.
"""

from setuptools import find_packages, setup

BESIDE = ("experiments", "configs", "scripts")

setup(
    packages=[*find_packages(include=["gan_jax*"]), *(f"gan_jax.programs.{n}" for n in BESIDE)],
    package_dir={f"gan_jax.programs.{name}": name for name in BESIDE},
)
