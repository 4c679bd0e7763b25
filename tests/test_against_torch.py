"""Training and schedules beside those of PyTorch and optax, where they are installed.

In a process of its own: the threads of JAX would make every later fork of this one a warning.
"""

import importlib.util
from pathlib import Path

import pytest


def test_optimizers_and_schedules_agree_with_pytorch_and_optax(run_python):
    if not all(importlib.util.find_spec(name) for name in ("torch", "jax", "optax")):
        pytest.skip("needs torch, jax and optax")
    lines = """
        import sys
        sys.path.insert(0, sys.argv[1])
        sys.argv[1:] = ["--nets", "1", "--first", "1000"]
        import compare_torch
        compare_torch.main()
    """
    result = run_python(lines, str(Path(__file__).parent))
    assert "64 comparisons, 0 out of bounds" in result.stdout
