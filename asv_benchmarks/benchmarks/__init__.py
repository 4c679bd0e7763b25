"""The suite of airspeed velocity; see CONTRIBUTING."""

import os
from pathlib import Path

if "ASV_ENV_DIR" in os.environ and "ASV_COMMIT" in os.environ:
    # Kernels are cached by where the package is installed, which in an environment of asv is the same for all commits: two
    # that take turns would compile all of it at each turn.
    folder = Path(os.environ["ASV_ENV_DIR"]) / "kernels" / os.environ["ASV_COMMIT"][:12]
    os.environ["BPKERNEL_CACHE_DIR"] = str(folder)
