"""Configurations of ``configs/`` in plain eager PyTorch, for benchmarks and tests alone.

`scripts.pytorch.references` has the systems by the name of their configuration: the same networks,
losses, players and optimizers, of the sizes that the configuration says. What costs only one side
is in favour of PyTorch: its data are one resident batch of floats, already cropped, mirrored and
degraded, and the learning rate is constant.
"""
