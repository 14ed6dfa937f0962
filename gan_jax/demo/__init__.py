"""Demos: a page and a server for a trained run, and its samples and translations at once."""
