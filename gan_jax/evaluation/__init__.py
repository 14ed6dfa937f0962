"""Measuring runs: evaluators, protocols, the best checkpoint."""
