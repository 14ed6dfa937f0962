"""Generators and discriminators as Flax Linen modules that know nothing of games."""
