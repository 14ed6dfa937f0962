"""Sweeps: many runs of one configuration file in parallel, from a definition to a table.

``definition`` defines the runs of a grid, ``space`` and ``search`` those of a search. ``record``
stores the sweep in its directory, ``agenda`` selects the next run, ``execution`` starts and watches
one run, ``summary`` ranks the results, and ``tables`` renders them. Only ``ray_tune`` imports Ray;
only ``slurm`` writes SLURM scripts.
"""
