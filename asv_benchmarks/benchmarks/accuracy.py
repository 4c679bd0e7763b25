"""The largest errors of a pass forward and back, beside the reference, in units of the last place."""

import numba

QUANTITIES = {
    "a": "Eq. 1  a",
    "z": "g      z",
    "δ of outputs": "Eq. 5  δ of outputs",
    "δ of hidden": "Eq. 7  δ of hidden",
    "∂E/∂w": "Eq. 4  ∂E/∂w",
}
SIZES = (17, 7, 31, 16)


class Reference:
    """Every activation × loss × output activation in a net 17-7-31-16, as `bpkernel check` compares them."""

    params = (list(QUANTITIES), ["float32", "float64"])
    param_names = ("quantity", "dtype")

    def setup_cache(self):
        """The largest error of each quantity, in each dtype; {} for a commit that compares in another way."""
        try:
            from bpkernel.checking import cases, compare
        except ImportError:
            return {}
        numba.get_num_threads()  # starts the threading layer, for early commits
        largest = {}
        for case in cases():
            if case.sizes == SIZES:
                for finding in compare(case):
                    key = finding.quantity, case.dtype
                    largest[key] = max(largest.get(key, 0.0), finding.ulps)
        return largest

    setup_cache.timeout = 300

    def setup(self, largest, quantity, dtype):
        if (QUANTITIES[quantity], dtype) not in largest:
            raise NotImplementedError("a commit that compares in another way")

    def track_largest_error(self, largest, quantity, dtype):
        return round(largest[QUANTITIES[quantity], dtype], 3)

    track_largest_error.unit = "ulps"
