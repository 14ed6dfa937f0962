"""Sweeps: many runs of one configuration file, side by side, from a definition to a table.

``definition`` says which runs there are, ``space`` and ``search`` which to try next, ``record``
what the sweep's directory remembers, ``agenda`` which run is next, ``execution`` how one run is
started and watched, ``summary`` what came out. ``ray_tune`` is the only file that knows Ray,
``slurm`` the only one that knows SLURM.
"""
