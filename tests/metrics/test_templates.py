"""Reading images by comparison with known ones."""

import numpy as np
import pytest

from gan_jax.errors import MetricError
from gan_jax.metrics.templates import nearest


def test_the_nearest_template_is_that_of_the_least_squared_difference():
    rng = np.random.default_rng(0)
    images, templates = (rng.integers(0, 256, (n, 5, 4, 3), dtype=np.uint8) for n in (1200, 17))
    gaps = images[:, None].astype(float) - templates
    expected = (gaps**2).sum(axis=(2, 3, 4)).argmin(axis=1)
    np.testing.assert_array_equal(nearest(images, templates), expected)
    np.testing.assert_array_equal(nearest(templates, templates), np.arange(17))
    # A brighter template is not the nearest for its brightness.
    known = np.stack([np.full((2, 2), level, np.uint8) for level in (10, 250)])
    np.testing.assert_array_equal(nearest(np.full((1, 2, 2), 100, np.uint8), known), [0])
    assert len(nearest(images[:0], templates)) == 0


def test_what_cannot_be_compared_is_refused():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(MetricError, match="accepted: one template or more"):
        nearest(images, images[:0])
    with pytest.raises(MetricError, match="images of the same shape"):
        nearest(images, images[..., :1])
    with pytest.raises(MetricError, match="accepted: uint8"):
        nearest(images.astype(np.float32), images)
