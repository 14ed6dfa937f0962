"""Programs that a person runs: ``python -m experiments.main`` and its companions."""
