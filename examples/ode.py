"""An ordinary differential equation whose right-hand side is a net.

A net learns the vector field of the Lotka-Volterra equations.  The method of Runge and Kutta then integrates the net from many
initial conditions: in a compiled loop that calls the net for one state at a time, and in Python for all conditions at once with
`MLP.predict` and with PyTorch.  All run on one thread, and the compiled loop on all threads too.

    python examples/ode.py
"""

import importlib.util
import statistics
import time

import numba
import numpy as np

import bpkernel as bp

N_CONDITIONS, N_STEPS, DT, ROUNDS = 100, 500, 0.02, 5


def trained_net():
    """A net that is trained on slopes at random states of prey and predators."""
    X = np.random.default_rng(0).uniform(0, 4, (20_000, 2))
    prey, predators = X.T
    slopes = np.stack([prey - prey * predators, prey * predators - predators], axis=1)
    net = bp.MLP((2, 32, 32, 2), dtype="float64", random_state=0)
    net.fit(X, slopes, epochs=30, optimizer=bp.Adam(0.003))
    print(f"mean error of the net {net.loss(X, slopes):.1e}")
    return net


@numba.njit(parallel=True)
def compiled(predict, X, n_steps, dt):
    """The states after n_steps; `predict` is what `MLP.as_njit` returns."""
    end = X.copy()
    for n in numba.prange(len(X)):
        x = end[n]
        k1, k2, k3, k4 = np.empty(2), np.empty(2), np.empty(2), np.empty(2)
        for _ in range(n_steps):
            predict(x, k1)
            predict(x + dt / 2 * k1, k2)
            predict(x + dt / 2 * k2, k3)
            predict(x + dt * k3, k4)
            x += dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return end


def in_python(slope, x, n_steps, dt):
    """The same for all conditions at once; x is an array or a tensor."""
    for _ in range(n_steps):
        k1 = slope(x)
        k2 = slope(x + dt / 2 * k1)
        k3 = slope(x + dt / 2 * k2)
        k4 = slope(x + dt * k3)
        x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def with_pytorch(net):
    """The function `in_python` with the same net in PyTorch."""
    import torch

    torch.set_num_threads(1)
    layers = []
    for w, b in zip(net.weights, net.biases, strict=True):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *w.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(w.T.copy()), torch.tensor(b.copy())
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])

    def run(X):
        with torch.inference_mode():
            return in_python(model, torch.from_numpy(X), N_STEPS, DT).numpy()

    return run


def main():
    net = trained_net()
    predict, n_threads = net.as_njit(), numba.get_num_threads()
    ways = {
        "compiled loop, as_njit": lambda X: compiled(predict, X, N_STEPS, DT),
        "Python loop, predict": lambda X: in_python(net.predict, X, N_STEPS, DT),
    }
    if importlib.util.find_spec("torch"):
        ways["Python loop, PyTorch"] = with_pytorch(net)
    ways[f"compiled loop on {n_threads} threads"] = ways["compiled loop, as_njit"]
    X = np.random.default_rng(1).uniform(0.5, 2.5, (N_CONDITIONS, 2))
    seconds, ends = {name: [] for name in ways}, {}
    for round_ in range(-1, ROUNDS):  # the first round compiles, and is not counted
        for name, run in ways.items():
            numba.set_num_threads(n_threads if "threads" in name else 1)
            start = time.perf_counter()
            end = run(X)
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
            np.testing.assert_allclose(end, ends.setdefault("first", end), rtol=1e-9)
    for name, times in seconds.items():
        each = statistics.median(times) / (N_CONDITIONS * N_STEPS)
        print(f"{name:28} {statistics.median(times) * 1e3:7.1f} ms, {each * 1e6:.2f} µs a step of one condition")


if __name__ == "__main__":
    main()
