"""Gradients and other derivatives beside JAX's, and training beside optax's, where they are installed.

In a process of its own: the threads of JAX would make every later fork of this one a warning.
"""

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.parametrize(("program", "n"), [("compare_jax", 6), ("compare_jax_derivatives", 3)])
def test_random_nets_agree_with_jax_and_optax(run_python, program, n):
    if not all(importlib.util.find_spec(name) for name in ("jax", "optax")):
        pytest.skip("needs jax and optax")
    lines = f"""
        import sys
        sys.path.insert(0, sys.argv[1])
        sys.argv[1:] = ["--graphs", "{n}", "--first", "1000"]
        import {program}
        {program}.main()
    """
    result = run_python(lines, str(Path(__file__).parent))
    assert f"{n} nets, 0 comparisons out of bounds" in result.stdout
