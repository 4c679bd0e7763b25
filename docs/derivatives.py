"""The pictures of docs/derivatives.md: error bars of a net, and a diagram of a net with one sample.

python docs/derivatives.py      # writes docs/error_bars.svg and docs/net_diagram.svg
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bpkernel as bp

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "0.35"  # of the palette of Okabe and Ito
FOLDER = Path(__file__).parent

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (150, 1))
X = X[(X < -0.3) | (X > 0.4)].reshape(-1, 1)  # a gap in the middle
T = 0.5 + 0.4 * np.sin(2 * np.pi * X) + 0.05 * rng.standard_normal(X.shape)


def by_evidence(n_hidden: int, rounds: int = 10) -> bp.LaplacePosterior:
    """The posterior of the weights of a net, trained with the weight decay of the evidence procedure."""
    net, alpha = bp.MLP((1, n_hidden, 1), dtype="float64", random_state=0), 0.001
    for _ in range(rounds):
        net.fit(X, T, epochs=200, optimizer=bp.LevenbergMarquardt(), alpha=alpha)
        posterior = net.laplace(X, T)
        alpha = posterior.prior_precision / posterior.noise_precision
    return posterior


def error_bars(left: Axes, right: Axes) -> None:
    """Draw the outputs with two standard deviations, and the two parts of the standard deviation."""
    posterior = by_evidence(8)
    x = np.linspace(-1.25, 1.25, 251)[:, np.newaxis]
    (y, std), (_, of_weights) = posterior.predict(x, return_std=True), posterior.predict(x, return_std=True, noise=False)
    y, std, of_weights = y[:, 0], std[:, 0], of_weights[:, 0]
    left.fill_between(x[:, 0], y - 2 * std, y + 2 * std, color=BLUE, alpha=0.2, linewidth=0, label="y ± 2 std")
    left.plot(x, y, color=BLUE, label="output y")
    left.plot(x, 0.5 + 0.4 * np.sin(2 * np.pi * x), "k--", linewidth=0.9, label="true function")
    left.plot(X, T, ".", color=GREY, markersize=4, label="data")
    left.set_ylim(-0.6, 1.9)
    right.plot(x, std, color=BLUE, label="std")
    right.plot(x, of_weights, color=ORANGE, label="std, noise=False")
    right.axhline(0.05, color="k", linestyle="--", linewidth=0.9, label="true noise")
    right.plot(X, np.full(len(X), 0.008), "|", color=GREY, markersize=6, label="data")
    right.set_ylim(0, 0.5)
    for axes, title in ((left, "posterior.predict(x, return_std=True)"), (right, "standard deviation")):
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("x")
        axes.set_xlim(-1.25, 1.25)
        axes.legend(loc="upper center", fontsize=8, frameon=False, ncols=2)


def net_diagram(left: Axes, right: Axes) -> None:
    """Draw a small net with one sample: the forward pass, and the backward pass."""
    net = bp.MLP((3, 6, 5, 2), dtype="float64", random_state=0)
    net.plot([1.0, -0.5, 0.3], [0.8, -0.4], ax=[left, right])


def main() -> None:
    matplotlib.rcParams["svg.hashsalt"] = "derivatives"  # the same files in every run
    for name, height, draw in (("error_bars", 3.6, error_bars), ("net_diagram", 2.8, net_diagram)):
        figure = Figure(figsize=(9, height), layout="constrained")
        draw(*figure.subplots(1, 2))
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
