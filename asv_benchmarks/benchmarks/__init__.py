"""The benchmark suite, run by asv (airspeed velocity); CONTRIBUTING.md describes its use."""

import hashlib
import importlib.util
import os
from pathlib import Path

_package = importlib.util.find_spec("bpkernel")
if "ASV_ENV_DIR" in os.environ and _package is not None:
    # The kernel cache has a folder for each installed copy.  In an environment of asv all commits are installed in the same
    # place, so two commits that take turns would compile all kernels at each turn.  Here each commit gets a cache of its own.
    _digest = hashlib.sha256()
    for _path in sorted(Path(_package.submodule_search_locations[0]).rglob("*.py")):
        _digest.update(_path.read_bytes())
    os.environ["BPKERNEL_CACHE_DIR"] = str(Path(os.environ["ASV_ENV_DIR"]) / "kernels" / _digest.hexdigest()[:12])
