"""The picture of docs/nets.md: quantiles, and means with standard deviations, of data whose noise grows with x.

python docs/intervals.py      # writes docs/intervals.svg
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import bpkernel as bp

SHOWN = 250  # samples
Z_90 = 1.2816  # the quantile of level 0.9 of the standard normal distribution
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "0.7"  # of the palette of Okabe and Ito

rng = np.random.default_rng(0)
X = rng.uniform(-3, 3, (4000, 1))
T = np.sin(X) + 0.1 * (X + 4) * rng.standard_normal(X.shape)
x = np.linspace(-3, 3, 121)[:, np.newaxis]
middle, noise = np.sin(x[:, 0]), 0.1 * (x[:, 0] + 4)

quantiles = bp.MLP((1, 32, 32, 3), loss=bp.Quantile(0.1, 0.5, 0.9), random_state=0)
quantiles.fit(X, T, epochs=100, batch_size=100)
normal = bp.MLP((1, 32, 32, 2), output_activation="mean_variance", loss="gaussian_nll", random_state=0)
normal.fit(X, T, epochs=100, batch_size=100)
mean, variance = normal.predict(x).T

matplotlib.rcParams["svg.hashsalt"] = "intervals"  # the same file in every run
figure = Figure(figsize=(9, 3.6), layout="constrained")
left, right = figure.subplots(1, 2, sharey=True)
for axes in (left, right):
    axes.plot(X[:SHOWN, 0], T[:SHOWN, 0], ".", color=GREY, markersize=3, label="data")
    axes.set_xlabel("x")
for level, y in zip((0.9, 0.5, 0.1), quantiles.predict(x).T[::-1], strict=True):
    left.plot(x, y, color=ORANGE if level == 0.5 else BLUE, label=f"quantile {level}")
right.plot(x, mean, color=ORANGE, label="mean")
right.fill_between(x[:, 0], mean - variance**0.5, mean + variance**0.5, color=BLUE, alpha=0.25, label="± deviation")
for axes, width in ((left, Z_90), (right, 1)):
    for share, label in ((-width, "true values"), (0, None), (width, None)):
        axes.plot(x, middle + share * noise, "k--", linewidth=0.9, label=label)
left.set_title("bp.Quantile(0.1, 0.5, 0.9)", fontsize=11)
right.set_title("mean_variance with gaussian_nll", fontsize=11)
for axes in (left, right):
    axes.legend(loc="upper left", fontsize=8, frameon=False)
figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})
