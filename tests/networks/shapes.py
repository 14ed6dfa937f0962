"""Shapes of data points for networks that are not for images."""

SHAPES = {
    "midinet": (16, 5, 1),
    "mocogan": (2, 16, 16, 1),
    "segan": (32, 2),
    "textgan": (6, 5),
    "videogan": (4, 16, 16, 1),
    "wavegan": (256, 2),
}
