"""Gradients and other derivatives beside JAX's, and training beside optax's, where they are installed.

In a process of its own: the threads of JAX would make every later fork of this one a warning.
"""

import importlib.util
from pathlib import Path

import pytest


def test_random_nets_agree_with_jax_and_optax(run_python):
    if not all(importlib.util.find_spec(name) for name in ("jax", "optax")):
        pytest.skip("needs jax and optax")
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        sys.argv[1:] = ["--graphs", "6", "--first", "1000"]
        import compare_jax
        compare_jax.main()
    """
    result = run_python(program, str(Path(__file__).parent))
    assert "6 nets, 0 comparisons out of bounds" in result.stdout


def test_derivatives_of_random_nets_agree_with_jax(run_python):
    if not all(importlib.util.find_spec(name) for name in ("jax", "optax")):
        pytest.skip("needs jax and optax")
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        sys.argv[1:] = ["--graphs", "3", "--first", "1000"]
        import compare_jax_derivatives
        compare_jax_derivatives.main()
    """
    result = run_python(program, str(Path(__file__).parent))
    assert "3 nets, 0 comparisons out of bounds" in result.stdout
