"""Runs: run directories, checkpoints, the training loop, recording, stopping."""
