"""What the tests of augmentations share: strict dtype promotion, as all the arithmetic is ours."""

import jax
import pytest


@pytest.fixture(autouse=True)
def strict_promotion(dtype_promotion):
    """Forbid implicit promotion, after the fixture that sets it for every folder."""
    with jax.numpy_dtype_promotion("strict"):
        yield
