"""What tests of all folders share."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import pytest
import threadpoolctl

from bpkernel.kernels import partition


def _run_python(
    program: str, *arguments: str, folder: Path | None = None, check: bool = True, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a new Python process; an environment variable that is None is removed.

    With `check` the test fails if the program fails.
    """
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="session")
def run_python():
    """A function that runs a program in a new Python process, see `_run_python`."""
    return _run_python


@pytest.fixture
def two_threads(monkeypatch):
    """Nets of any size are worth two threads; afterwards there are as many as before."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    monkeypatch.setattr(partition, "WORTH_A_THREAD", 1)
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


@pytest.fixture
def on_one_and_two_threads(two_threads):
    """A function that returns what another one, of n_threads, returns on one thread and on two, where any work is worth two."""

    def on(n_threads, function):
        numba.set_num_threads(n_threads)
        return function(n_threads)

    return lambda function: [on(n_threads, function) for n_threads in (1, 2)]


@pytest.fixture(scope="module")
def one_blas_thread():
    """NumPy's products on one thread: threads of BLAS wait for one another in loops, which takes long where cores are busy."""
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield


def pytest_configure() -> None:
    """Let tests of Ctrl-C work also where the shell has made a job in the background ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Processes that the tests run in; each has as many threads as there are processors."""
    return min(4, os.cpu_count() or 1)
