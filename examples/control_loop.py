"""A net in a control loop: it balances a pole on a cart, one step at a time.

The net learns the forces of a linear-quadratic regulator, limited to ±10 N.  The loop of net and cart then runs compiled, with
`MLP.as_njit`, and in Python, with `MLP.predict` and with PyTorch; the cart itself is compiled in all of them.

    python examples/control_loop.py
"""

import importlib.util
import statistics
import time

import numba
import numpy as np

import bpkernel as bp

N_STEPS, DT, ROUNDS = 3000, 0.02, 7
GRAVITY, CART, POLE, HALF_LENGTH, LIMIT = 9.8, 1.0, 0.1, 0.5, 10.0  # m/s², kg, kg, m, N
GAINS = np.array([7.9, 13.6, 85.4, 23.5])  # of the regulator, for position, velocity, angle and angular velocity


@numba.njit
def move(state, force):
    """One step of the cart, in place: state is position, velocity, angle and angular velocity."""
    _, velocity, angle, spin = state
    sine, cosine, mass = np.sin(angle), np.cos(angle), CART + POLE
    push = (force + POLE * HALF_LENGTH * spin**2 * sine) / mass
    turn = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / mass))
    state[1] += DT * (push - POLE * HALF_LENGTH * turn * cosine / mass)
    state[3] += DT * turn
    state[0] += DT * velocity
    state[2] += DT * spin


def trained_net():
    X = np.random.default_rng(0).uniform(-1, 1, (20_000, 4)) * [2, 2, 0.4, 2]
    forces = np.clip(X @ GAINS, -LIMIT, LIMIT)
    net = bp.MLP((4, 16, 16, 1), dtype="float64", random_state=0)
    net.fit(X, forces, epochs=30, optimizer=bp.Adam(0.005))
    return net


@numba.njit
def compiled(predict, state, path):
    """Write the states of the loop to path (n_steps, 4); `predict` is what `MLP.as_njit` returns."""
    force = np.empty(1)
    for n in range(len(path)):
        predict(state, force)
        move(state, force[0])
        path[n] = state


def in_python(force_of, state, path):
    for n in range(len(path)):
        move(state, force_of(state))
        path[n] = state


def with_pytorch(net):
    """The force as a function of the state, with the same net in PyTorch."""
    import torch

    torch.set_num_threads(1)
    layers = []
    for w, b in zip(net.weights, net.biases, strict=True):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *w.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(w.T.copy()), torch.tensor(b.copy())
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])

    def run(state, path):
        with torch.inference_mode():
            in_python(lambda state: model(torch.from_numpy(state)).item(), state, path)

    return run


def main():
    net = trained_net()
    predict = net.as_njit()
    ways = {
        "compiled loop, as_njit": lambda state, path: compiled(predict, state, path),
        "Python loop, predict": lambda state, path: in_python(lambda state: net.predict(state[None])[0, 0], state, path),
    }
    if importlib.util.find_spec("torch"):
        ways["Python loop, PyTorch"] = with_pytorch(net)
    seconds, paths = {name: [] for name in ways}, {}
    for round_ in range(-1, ROUNDS):  # the first round compiles, and is not counted
        for name, run in ways.items():
            state, path = np.array([1.0, 0.0, 0.2, 0.0]), np.empty((N_STEPS, 4))
            start = time.perf_counter()
            run(state, path)
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
            np.testing.assert_allclose(path, paths.setdefault("first", path), atol=1e-9)
    print(f"largest angle {abs(path[:, 2]).max():.3f} rad, after the first 20 s {abs(path[1000:, 2]).max():.1e} rad")
    for name, times in seconds.items():
        print(f"{name:24} {statistics.median(times) / N_STEPS * 1e6:6.2f} µs a step")


if __name__ == "__main__":
    main()
