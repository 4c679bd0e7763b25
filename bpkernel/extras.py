"""Optional dependencies."""

import importlib
from typing import Any


def need(module: str, extra: str) -> Any:
    """Import a module of an extra, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        raise ImportError(f"this needs {name}, which is not installed; run: pip install 'bpkernel[{extra}]'") from error
