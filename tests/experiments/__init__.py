"""Tests of the programs that a person runs."""

import pytest

# Its assertions are rewritten as those of a test are.
pytest.register_assert_rewrite("tests.experiments.program")
