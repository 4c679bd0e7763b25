"""The suite of airspeed velocity; see CONTRIBUTING."""

import hashlib
import importlib.util
import os
from pathlib import Path

_package = importlib.util.find_spec("bpkernel")
if "ASV_ENV_DIR" in os.environ and _package is not None:
    # Kernels are cached by where the package is installed, which in an environment of asv is the same for all commits: two
    # that take turns would compile everything at each turn.
    _digest = hashlib.sha256()
    for _path in sorted(Path(_package.submodule_search_locations[0]).glob("*.py")):
        _digest.update(_path.read_bytes())
    os.environ["BPKERNEL_CACHE_DIR"] = str(Path(os.environ["ASV_ENV_DIR"]) / "kernels" / _digest.hexdigest()[:12])
