"""Optimizers and schedules beside PyTorch and optax: python tests/compare_torch.py --nets 20.

A small net is trained for 200 steps of mini-batches in float64 by `fit` and by `torch.optim`, with every optimizer and several
settings, at a constant rate and on a schedule; Lion, which PyTorch lacks, is compared with optax.  The rates of every schedule
are compared with `torch.optim.lr_scheduler` or optax.  The test suite runs one net where both are installed.
"""

import argparse
import dataclasses
import math
import os
import sys

import numpy as np
import torch

import bpkernel as bp

os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax
import optax

jax.config.update("jax_enable_x64", True)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # NAdam keeps the product of its momenta in this dtype

WEIGHTS, RATES, N_STEPS = 1e-9, 1e-12, 200
SIZES, N_SAMPLES, BATCH_SIZE = (3, 5, 2), 50, 13  # four batches in an epoch, the last one shorter
EPOCHS = 50
S = bp.schedules


def coupled(make, decay=0.0):
    """An optimizer of PyTorch; its decay is decoupled from the gradient here, as all of ours are: w ← (1 - η λ) w."""

    def start(params):
        optimizer = make(params)

        def step(t, rate):
            group = optimizer.param_groups[0]
            group["lr"] = group["lr"] if rate is None else rate
            eta = group["lr"] / (1 + (t - 1) * group.get("lr_decay", 0.0))  # lr_decay is Adagrad's
            with torch.no_grad():
                for w in params:
                    w.mul_(1 - eta * decay)
            optimizer.step()

        return step

    return start


def adam(eta, betas, epsilon):
    """PyTorch adds ε to √(v / (1 - β₂ᵗ)), and ours to √v: it is given the ε / √(1 - β₂ᵗ) that makes the two the same."""

    def start(params):
        optimizer = torch.optim.Adam(params, eta, betas)

        def step(t, rate):
            group = optimizer.param_groups[0]
            group["lr"] = group["lr"] if rate is None else rate
            group["eps"] = epsilon / math.sqrt(1 - betas[1] ** t)
            optimizer.step()

        return step

    return start


def lion(eta, betas, decay):
    """Lion of optax, on the gradients of PyTorch."""

    def start(params):
        def arrays(tensors):
            return [jax.numpy.asarray(each.detach().numpy()) for each in tensors]

        optimizer = optax.inject_hyperparams(optax.lion)(eta, *betas, weight_decay=decay)
        state = optimizer.init(arrays(params))
        update = jax.jit(optimizer.update)

        def step(t, rate):
            nonlocal state
            if rate is not None:
                state.hyperparams["learning_rate"] = jax.numpy.asarray(rate)
            updates, state = update(arrays(w.grad for w in params), state, arrays(params))
            with torch.no_grad():
                for w, change in zip(params, updates, strict=True):
                    w.add_(torch.from_numpy(np.array(change)))

        return step

    return start


SGD, AdamW, NAdam, RMSprop, Adagrad = (getattr(torch.optim, name) for name in ("SGD", "AdamW", "NAdam", "RMSprop", "Adagrad"))
OPTIMIZERS = {
    "SGD": (bp.SGD(0.2), coupled(lambda p: SGD(p, 0.2))),
    "SGD, decay": (bp.SGD(0.2, weight_decay=0.01), coupled(lambda p: SGD(p, 0.2), 0.01)),
    "momentum": (bp.SGD(0.05, 0.9), coupled(lambda p: SGD(p, 0.05, 0.9))),
    "momentum, decay": (bp.SGD(0.05, 0.9, weight_decay=0.02), coupled(lambda p: SGD(p, 0.05, 0.9), 0.02)),
    "dampening": (bp.SGD(0.1, 0.8, dampening=0.4), coupled(lambda p: SGD(p, 0.1, 0.8, 0.4))),
    "Nesterov": (bp.SGD(0.05, 0.9, True), coupled(lambda p: SGD(p, 0.05, 0.9, nesterov=True))),
    "Nesterov, decay": (
        bp.SGD(0.05, 0.7, True, weight_decay=0.02),
        coupled(lambda p: SGD(p, 0.05, 0.7, nesterov=True), 0.02),
    ),
    "Adam": (bp.Adam(0.01), adam(0.01, (0.9, 0.999), 1e-8)),
    "Adam, large epsilon": (bp.Adam(0.02, 0.8, 0.95, 1e-2), adam(0.02, (0.8, 0.95), 1e-2)),
    "AdamW": (bp.AdamW(0.01), coupled(lambda p: AdamW(p, 0.01))),  # with its own decay
    "AdamW, other settings": (
        bp.AdamW(0.02, 0.2, 0.8, 0.95, 1e-2),
        coupled(lambda p: AdamW(p, 0.02, (0.8, 0.95), 1e-2, 0.2)),
    ),
    "AdamW, no decay": (bp.AdamW(0.01, 0.0), coupled(lambda p: torch.optim.Adam(p, 0.01))),
    "NAdam": (bp.NAdam(0.01), coupled(lambda p: NAdam(p, 0.01))),
    "NAdam, other settings": (
        bp.NAdam(0.02, 0.8, 0.95, 1e-2, 0.1, 0.2),
        coupled(lambda p: NAdam(p, 0.02, (0.8, 0.95), 1e-2, 0.2, 0.1, decoupled_weight_decay=True)),
    ),
    "RMSprop": (bp.RMSprop(0.01), coupled(lambda p: RMSprop(p, 0.01))),
    "RMSprop, momentum": (bp.RMSprop(0.005, 0.9, momentum=0.8), coupled(lambda p: RMSprop(p, 0.005, 0.9, momentum=0.8))),
    "RMSprop, centered": (
        bp.RMSprop(0.01, 0.9, 1e-4, centered=True),
        coupled(lambda p: RMSprop(p, 0.01, 0.9, 1e-4, centered=True)),
    ),
    "RMSprop, all": (
        bp.RMSprop(0.005, 0.9, 1e-4, 0.7, True, 0.1),
        coupled(lambda p: RMSprop(p, 0.005, 0.9, 1e-4, momentum=0.7, centered=True), 0.1),
    ),
    "Adagrad": (bp.Adagrad(0.1), coupled(lambda p: Adagrad(p, 0.1))),
    "Adagrad, all": (
        bp.Adagrad(0.2, 0.01, 0.1, 1e-4, 0.05),
        coupled(lambda p: Adagrad(p, 0.2, 0.01, initial_accumulator_value=0.1, eps=1e-4), 0.05),
    ),
    "Lion": (bp.Lion(0.01), lion(0.01, (0.9, 0.99), 0.0)),
    "Lion, other settings": (bp.Lion(0.005, 0.8, 0.95, 0.3), lion(0.005, (0.8, 0.95), 0.3)),
}


def problem(seed):
    """A net, and samples of two classes that it learns in part."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N_SAMPLES, SIZES[0]))
    classes = (X[:, 0] * X[:, 1] + 0.5 * rng.standard_normal(N_SAMPLES) > 0).astype(int)
    return bp.MLP(SIZES, "tanh", "softmax", "cross_entropy", dtype="float64", random_state=seed), X, classes


def trained_by_torch(net, X, classes, start, rates):
    """The weights and biases after 200 steps; rates: of every step, or None for those of the optimizer."""
    params = [torch.tensor(array.copy(), requires_grad=True) for array in (*net.weights, *net.biases)]
    step = start(params)
    X, classes = torch.from_numpy(X), torch.from_numpy(classes)
    for t in range(1, N_STEPS + 1):
        first = (t - 1) % 4 * BATCH_SIZE
        batch = slice(first, first + BATCH_SIZE)
        w, v, b, c = params
        y = torch.tanh(X[batch] @ w + b) @ v + c
        for each in params:
            each.grad = None
        torch.nn.functional.cross_entropy(y, classes[batch]).backward()
        step(t, None if rates is None else rates[t - 1])
    return [each.detach().numpy() for each in params]


def distance_of_training(seed, mine, start, rates=None):
    """The largest difference of a weight or bias after training by `fit` and by PyTorch; Inf if training changes nothing."""
    net, X, classes = problem(seed)
    before = [array.copy() for array in (*net.weights, *net.biases)]
    expected = trained_by_torch(net, X, classes, start, rates)
    net.fit(X, classes, EPOCHS, BATCH_SIZE, mine, shuffle=False)
    found = [*net.weights, *net.biases]
    assert mine.n_steps == N_STEPS
    if min(abs(f - b).max() for f, b in zip(found, before, strict=True)) < 1e-4:
        return math.inf
    return max(abs(f - e).max() for f, e in zip(found, expected, strict=True))


def compare_training(seed):
    """The distances of all optimizers by their names, at a constant rate and on a cosine with a rise, whose rates are optax's.

    The velocity of our SGD contains the rate, that of PyTorch does not: with momentum they agree at a constant rate only.
    """
    found = {}
    for name, (mine, start) in OPTIMIZERS.items():
        mine.reset()
        found[name] = distance_of_training(seed, mine, start)
        if getattr(mine, "momentum", 0) == 0 or not isinstance(mine, bp.SGD):
            eta, low = mine.learning_rate, 0.1 * mine.learning_rate
            own = dataclasses.replace(mine, learning_rate=S.Cosine(eta, n_warmup=20, lowest=low))
            rates = of_optax(optax.warmup_cosine_decay_schedule(0.0, eta, 20, N_STEPS, low))
            found[f"{name}, Cosine"] = distance_of_training(seed, own, start, rates)
    return found


# ------------------------------------------------------------------------------------------------------------- schedules


def of_torch(make, eta=0.1):
    """The rates of 200 steps of a scheduler of PyTorch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], eta)
    scheduler, found = make(optimizer), []
    for _ in range(N_STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def of_optax(schedule):
    """The rates of 200 steps of a schedule of optax."""
    return np.asarray(schedule(jax.numpy.arange(N_STEPS))).tolist()


L = torch.optim.lr_scheduler
SCHEDULES = {
    "Step": (S.Step(0.1, 30), lambda: of_torch(lambda o: L.StepLR(o, 30))),
    "Step, factor": (S.Step(0.1, 7, 0.8), lambda: of_torch(lambda o: L.StepLR(o, 7, 0.8))),
    "Step, list": (S.Step(0.1, [90, 20, 21, 20], 0.5), lambda: of_torch(lambda o: L.MultiStepLR(o, [90, 20, 21, 20], 0.5))),
    "Exponential": (S.Exponential(0.1, 0.97), lambda: of_torch(lambda o: L.ExponentialLR(o, 0.97))),
    "Exponential, every": (
        S.Exponential(0.1, 0.5, every=25),
        lambda: of_optax(optax.exponential_decay(0.1, 25, 0.5)),
    ),
    "Constant, rise": (S.Constant(0.1, n_warmup=40), lambda: of_optax(optax.linear_schedule(0.0, 0.1, 40))),
    "InverseScaling": (
        S.InverseScaling(0.1, 0.7),
        lambda: of_torch(lambda o: L.LambdaLR(o, lambda step: (step + 1) ** -0.7)),
    ),
    "Cosine": (S.Cosine(0.1, N_STEPS), lambda: of_torch(lambda o: L.CosineAnnealingLR(o, N_STEPS))),
    "Cosine, lowest": (S.Cosine(0.1, N_STEPS, lowest=0.02), lambda: of_torch(lambda o: L.CosineAnnealingLR(o, N_STEPS, 0.02))),
    "Cosine, rise": (
        S.Cosine(0.1, 150, 30, 0.01, 0.02),
        lambda: of_optax(optax.warmup_cosine_decay_schedule(0.02, 0.1, 30, 150, 0.01)),
    ),
    "restarts": (
        S.Cosine(0.1, 30, lowest=0.01, restarts=True),
        lambda: of_torch(lambda o: L.CosineAnnealingWarmRestarts(o, 30, 1, 0.01)),
    ),
    "restarts, growth": (
        S.Cosine(0.1, 12, restarts=True, growth=2),
        lambda: of_torch(lambda o: L.CosineAnnealingWarmRestarts(o, 12, 2)),
    ),
    "restarts, threefold": (
        S.Cosine(0.1, 7, restarts=True, growth=3.0),
        lambda: of_torch(lambda o: L.CosineAnnealingWarmRestarts(o, 7, 3)),
    ),
    "OneCycle": (
        S.OneCycle(0.1, N_STEPS),
        lambda: of_torch(lambda o: L.OneCycleLR(o, 0.1, N_STEPS, cycle_momentum=False)),
    ),
    "OneCycle, linear": (
        S.OneCycle(0.2, N_STEPS, 0.45, 10, 100, "linear"),
        lambda: of_torch(
            lambda o: L.OneCycleLR(
                o,
                0.2,
                N_STEPS,
                pct_start=0.45,
                anneal_strategy="linear",
                cycle_momentum=False,
                div_factor=10,
                final_div_factor=100,
            )
        ),
    ),
}
PLATEAUS = [  # factor, patience, threshold, cooldown, lowest
    (0.1, 10, 1e-4, 0, 0.0),
    (0.5, 2, 1e-2, 0, 0.0),
    (0.7, 0, 0.0, 0, 0.01),
    (0.8, 3, 1e-3, 4, 0.02),
    (0.5, 1, 0.1, 10, 0.0),
]


def distance_of_plateaus(seed, settings, mode):
    """The largest difference of the rates of 200 epochs with noisy losses, or scores, that get better more and more slowly."""
    rng = np.random.default_rng(seed)
    values = np.exp(-np.arange(N_STEPS) / 40) + 0.2 + 0.02 * rng.standard_normal(N_STEPS)
    values = values if mode == "min" else 2 - values
    factor, patience, threshold, cooldown, lowest = settings
    schedule = S.ReduceOnPlateau(0.1, *settings)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = L.ReduceLROnPlateau(optimizer, mode, factor, patience, threshold, cooldown=cooldown, min_lr=lowest, eps=0.0)
    rates = []
    for value in values:
        schedule.epoch(value if mode == "min" else -value)
        scheduler.step(value)
        rates.append((schedule(0), optimizer.param_groups[0]["lr"]))
    found, expected = np.transpose(rates)
    return abs(found - expected).max() if found[-1] < 0.1 else math.inf


def compare_rates(seed):
    """The distances of the rates of all schedules by their names; Inf for a schedule that changes nothing."""
    found = {}
    for name, (schedule, expected) in SCHEDULES.items():
        rates = schedule.rates(0, N_STEPS)
        one_by_one = [schedule(step) for step in range(N_STEPS)]
        own = max(abs(rates - expected()).max(), abs(rates - one_by_one).max())
        found[name] = own if np.ptp(rates) > 0.01 else math.inf
    for number, settings in enumerate(PLATEAUS):
        for mode in ("min", "max"):
            found[f"ReduceOnPlateau {number}, {mode}"] = distance_of_plateaus(seed, settings, mode)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    arguments = parser.parse_args()
    n = wrong = 0
    worst = {"weights": 0.0, "rates": 0.0}
    for seed in range(arguments.first, arguments.first + arguments.nets):
        for what, compare, bound in (("weights", compare_training, WEIGHTS), ("rates", compare_rates, RATES)):
            for name, value in compare(seed).items():
                n += 1
                worst[what] = max(worst[what], value)
                if not value <= bound:
                    wrong += 1
                    print(f"seed {seed}: {what} of {name} {value:.2g}", flush=True)
    print(f"{n} comparisons, {wrong} out of bounds, worst: { {name: f'{value:.2g}' for name, value in worst.items()} }")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
