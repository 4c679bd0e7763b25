"""The largest errors of a forward and backward pass, compared with the reference, in units in the last place (ulp)."""

import numba

from .internals import find

QUANTITIES = {
    "a": "Eq. 1  a",
    "z": "g      z",
    "δ of outputs": "Eq. 5  δ of outputs",
    "δ of hidden": "Eq. 7  δ of hidden",
    "∂E/∂w": "Eq. 4  ∂E/∂w",
}
SIZES = (17, 7, 31, 16)


class Reference:
    """Every combination of activation, loss and output activation in a net 17-7-31-16, compared as by `bpkernel check`."""

    params = (list(QUANTITIES), ["float32", "float64"])
    param_names = ("quantity", "dtype")
    version = "fe8f32e9ea74c7b0789ded8f9ecbcd3b240603448febd6a6d3552f67e7e320d7"  # that of the recorded results

    def setup_cache(self):
        """The largest error of each quantity in each dtype; {} for commits without this comparison."""
        modules = "bpkernel.gradient_check", "bpkernel.checking"
        try:
            cases, compare = find("cases", *modules), find("compare", *modules)
        except NotImplementedError:
            return {}
        numba.get_num_threads()  # early commits need the threading layer to be started
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
            raise NotImplementedError("this commit compares in another way")

    def track_largest_error(self, largest, quantity, dtype):
        return round(largest[QUANTITIES[quantity], dtype], 3)

    track_largest_error.unit = "ulps"
