"""`python -m bpkernel.sklearn PROGRAM.py`: a program that uses scikit-learn's MLP estimators, run with bpkernel's instead."""

import runpy
import sys
from pathlib import Path

from bpkernel.sklearn import patch


def main(arguments: list[str]) -> None:
    """Run a program, whose own arguments follow, as Python would, but patched."""
    if not arguments or not Path(arguments[0]).exists():
        raise SystemExit("usage: python -m bpkernel.sklearn PROGRAM.py [its arguments]")
    sys.argv = arguments
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
    with patch():
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
