"""Configurations of ``configs/`` in plain eager PyTorch, for benchmarks and tests alone.

`scripts.pytorch.references` has the systems by the name of their configuration: the same networks,
losses, players, optimizers and averages, of the sizes that the configuration says. A step takes its
batches as an argument.
"""
