"""Digests of functions: other for other content, the same for the same source in another process."""

import enum
import functools
import types

import numba
import numpy as np
import pytest

from bpkernel.codegen import content_hash as content
from bpkernel.codegen.content_hash import digest, with_digest
from bpkernel.codegen.jit import kernel


def made_of(source, **names):
    """The function `f` that a source defines, at the same place of the same file each time."""
    names["__name__"] = __name__
    exec(compile(source, "cell.py", "exec"), names)
    return names["f"]


def called(constant):
    """A function whose global `g` adds a constant."""
    g = made_of(f"def f(x):\n    return x + {constant}")
    return made_of("def f(x):\n    return g(x)", g=g)


def closed_over(value):
    def f(x):
        return x + value

    return f


ARRAY = np.arange(3.0)
KIND = enum.Enum("Kind", "A B")
OTHER = {  # what differs: a function, another one, and the first again from equal parts
    "a constant": [made_of(f"def f(x):\n    return x + {c}") for c in (1, 2, 1)],
    "the type of a constant": [made_of(f"def f(x):\n    return x + {c}") for c in ("1", "1.0", "1")],
    "the sign of zero": [made_of(f"def f(x):\n    return x * {c}") for c in ("0.0", "-0.0", "0.0")],
    "an operator": [made_of(f"def f(x):\n    return x {o} 2") for o in "+-+"],
    "an attribute": [made_of(f"def f(x):\n    return x.{a}") for a in ("real", "imag", "real")],
    "a function of a module": [made_of(f"import math\ndef f(x):\n    return math.{a}(x)") for a in ("sin", "cos", "sin")],
    "a default": [made_of(f"def f(x, y={d}):\n    return x + y") for d in (1.0, 2.0, 1.0)],
    "a closure": [closed_over(v) for v in (1.5, 2.5, 1.5)],
    "a closure's type": [closed_over(v) for v in (1, True, 1)],
    "a function in a closure": [closed_over(called(v)) for v in (1.5, 2.5, 1.5)],
    "an array in a closure": [closed_over(v) for v in (ARRAY, ARRAY + 1, ARRAY.copy())],
    "an array's dtype": [closed_over(v) for v in (ARRAY, ARRAY.astype("f4"), ARRAY.copy())],
    "an array's shape": [closed_over(v) for v in (ARRAY, ARRAY[:, None], ARRAY.copy())],
    "a dtype": [closed_over(np.dtype(v)) for v in ("f4", "f8", "f4")],
    "a class": [closed_over(v) for v in (np.float32, np.float64, np.float32)],
    "a tuple": [closed_over(v) for v in ((1, 2), (2, 1), (1, 2))],
    "how a tuple nests": [closed_over(v) for v in (((1,), 2), ((1, 2),), ((1,), 2))],
    "a set of constants": [made_of(f"def f(x):\n    return x in {s}") for s in ("{1, 2}", "{1, 3}", "{2, 1}")],
    "a global": [made_of("def f(x):\n    return x + LIMIT", LIMIT=v) for v in (1.0, 2.0, 1.0)],
    "a function that it calls": [called(v) for v in (1, 2, 1)],
    "a compiled function that it calls": [
        made_of("def f(x):\n    return g(x)", g=numba.njit(made_of(f"def f(x):\n    return x + {v}"))) for v in (1, 2, 1)
    ],
    "what a called function calls": [made_of("def f(x):\n    return g(x)", g=called(v)) for v in (1, 2, 1)],
    "a keyword's default": [made_of(f"def f(x, *, y={d}):\n    return x + y") for d in (1.0, 2.0, 1.0)],
    "a member of an enumeration": [closed_over(v) for v in (KIND.A, KIND.B, KIND.A)],
    "a global of a module": [made_of("def f(x):\n    return x + m.LIMIT", m=types.SimpleNamespace(LIMIT=v)) for v in (1, 2, 1)],
    "an inner function": [made_of(f"def f(x):\n    return (lambda y: y + {v})(x)") for v in (1, 2, 1)],
    "a global of an inner function": [
        made_of("def f(x):\n    return (lambda y: y + LIMIT)(x)", LIMIT=v) for v in (1.0, 2.0, 1.0)
    ],
}


@pytest.mark.parametrize("what", OTHER)
def test_functions_of_other_content_have_other_digests(what):
    first, other, again = OTHER[what]
    assert digest(first) != digest(other)
    assert digest(first) == digest(again)


def test_a_module_is_not_asked_for_names_that_it_does_not_hold():
    """It may answer with a warning, as NumPy 1 does to `np.math`."""

    def refuse(name):
        assert name != "other"
        raise AttributeError(name)

    module = types.ModuleType("module")
    module.LIMIT, module.__getattr__ = 3.0, refuse
    source = "def f(x):\n    return x.other + m.LIMIT + LIMIT"
    one = digest(made_of(source, m=module, LIMIT=1.0))
    module.LIMIT = 4.0
    assert digest(made_of(source, m=module, LIMIT=1.0)) != one


def test_a_compiled_function_has_the_digest_of_its_source():
    function = closed_over(3)
    assert digest(numba.njit(function)) == digest(kernel(function)) == digest(function)


def test_a_function_that_calls_itself_has_a_digest():
    source = "def f(n):\n    return n * f(n - 1) if n > 0 else {}"
    one, other, again = (made_of(source.format(c)) for c in (1, 2, 1))
    assert digest(one) == digest(again) != digest(other)


def test_a_digest_is_12_hexadecimal_digits_of_no_address():
    """An object without a value of its own counts by its name: its address differs in each process."""
    digests = {digest(closed_over(functools.partial(print))) for _ in range(3)}
    assert len(digests) == 1
    assert len(int(digests.pop(), 16).to_bytes(6)) == 6


PROGRAM = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import cell
    from bpkernel.codegen.content_hash import digest, with_digest
    from bpkernel.functions import activations, elementary, losses, optimizers
    from bpkernel.kernels import sums
    functions = [cell.f, activations.Tanh.forward, losses.Poisson.sample_error, optimizers.Adam.update]
    functions += [*sums.PANELS_OF_SUMS.values(), activations.BY_NAME["gelu"].vjp, losses.BY_NAME["huber"].sample_error]
    print(*[digest(function) for function in functions], with_digest(cell.f).__qualname__)
"""
CELL = """
import math
import numpy as np
TABLE, NAMES = np.linspace(0, 1, 5), frozenset(["a", "b", "c", "d"])

def g(x, *, scale=2.0):
    return scale * TABLE[int(x)] if x in {"e", "f", "g", "h"} else math.sqrt(x)

def f(x, y=1.5):
    return g(x) + y + len(NAMES)
"""


def test_the_same_source_has_the_same_digest_in_another_process(tmp_path, run_python):
    """Whatever the seed of Python's hashes, on which the order of sets depends."""
    (tmp_path / "cell.py").write_text(CELL)
    found = [run_python(PROGRAM, str(tmp_path), PYTHONHASHSEED=seed).stdout.split() for seed in ("1", "2")]
    assert found[0] == found[1]
    assert len(set(found[0])) == len(found[0]) > 6


def test_a_function_with_its_digest_in_its_name_does_the_same():
    def scaled(x, y=2.0, *, z=3.0):
        """What it does."""
        return offset + x * y * z

    offset = 1.0
    copy = with_digest(scaled)
    assert copy.__name__ == f"scaled_{digest(scaled)}"
    assert copy.__qualname__.endswith(f".scaled_{digest(scaled)}")
    assert "<locals>" not in copy.__qualname__
    assert (copy.__module__, copy.__defaults__, copy.__kwdefaults__) == (__name__, (2.0,), {"z": 3.0})
    for function in (scaled, copy):
        assert [function(5.0), function(5.0, 1.0), function(5.0, 1.0, z=1.0)] == [31.0, 16.0, 6.0]
    assert scaled.__name__ == "scaled"


def test_a_function_with_its_digest_is_compiled_to_the_same_results():
    x = np.linspace(-1, 1, 7)
    for value in (2.0, 3.0):
        np.testing.assert_array_equal(numba.njit(with_digest(closed_over(value)))(x), closed_over(value)(x))


def test_names_of_inner_functions_count():
    assert content._names(made_of("def f(x):\n    return (lambda y: y.real + LIMIT)(x)").__code__) >= {"real", "LIMIT"}
