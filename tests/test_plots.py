"""The pictures: what is drawn on the axes, and what is refused."""

import matplotlib as mpl
import numpy as np
import pytest

import bpkernel as bp
from bpkernel.history import History

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Circle, FancyArrowPatch


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def drawn(ax, kind):
    return [patch for patch in ax.patches if isinstance(patch, kind)]


def test_a_net_has_a_circle_for_each_unit_and_a_line_for_each_weight():
    ax = bp.MLP((4, 6, 3), random_state=0).plot()
    assert len(drawn(ax, Circle)) == 13
    assert len(drawn(ax, FancyArrowPatch)) == 42
    assert {"inputs\n4", "layer 1\n6", "outputs\n3"} <= {text.get_text() for text in ax.texts}
    ax.figure.canvas.draw()


def test_absent_weights_are_not_drawn_and_skips_are():
    mask = np.random.default_rng(0).random((4, 5)) < 0.5
    net = bp.MLP((4, 5, 2), connections="all", masks={(0, 1): mask}, random_state=0)
    assert len(drawn(net.plot(), FancyArrowPatch)) == mask.sum() + 10 + 8


def test_wide_layers_show_some_units():
    ax = bp.MLP((64, 100, 10), random_state=0).plot()
    assert len(drawn(ax, Circle)) == 30
    assert "⋮" in {text.get_text() for text in ax.texts}
    assert "layer 1\n100" in {text.get_text() for text in ax.texts}


def test_a_sample_flows_forward_and_back():
    net = bp.MLP((4, 6, 3), output_activation="softmax", loss="cross_entropy", dtype="float64", random_state=0)
    x, t = np.array([0.5, -1.0, 2.0, 0.0]), [0, 1, 0]
    forward, backward = net.plot(x, t)
    assert "z" in forward.get_title()
    assert "δ" in backward.get_title()
    faces = [circle.get_facecolor() for circle in drawn(forward, Circle)]
    assert len(set(faces)) > 8
    white = [face for face in (circle.get_facecolor() for circle in drawn(backward, Circle)) if face[:3] == (1, 1, 1)]
    assert len(white) >= 4  # inputs have no δ
    with pytest.raises(ValueError, match="plot needs both x and t of a sample, or none of them"):
        net.plot(x)
    with pytest.raises(ValueError, match="ax must be two Axes"):
        net.plot(x, t, ax=plt.gca())
    with pytest.raises(ValueError, match="X must have shape"):
        net.plot(x[:2], t)


def test_names_of_units_are_written():
    net = bp.MLP.from_edges([("x1", "h"), ("h", "y"), ("x1", "y")], inputs=["x1"], outputs=["y"], random_state=0)
    assert {"x1", "h", "y"} <= {text.get_text() for text in net.plot().texts}


def test_learning_curves():
    history = History(5, [2.0, 0.5, 0.1], [3.0, 1.0, 2.0], seconds=[1.0] * 3, best_epoch=1)
    ax = history.plot()
    assert [line.get_label() for line in ax.lines] == ["training loss", "validation loss", "best epoch"]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert ax.lines[2].get_xdata() == [2]
    assert ax.get_yscale() == "log"
    assert History(5, [2.0, 1.5]).plot().get_yscale() == "linear"
    assert History(5).plot().get_legend() is None
    scored = History(5, [2.0, 1.5], validation_loss=[2.0, 1.8], validation_score=[0.5, 0.6]).plot()
    assert "score" in {text.get_text() for text in scored.get_legend().get_texts()}
    own = plt.figure().add_subplot()
    assert history.plot(own) is own


def test_statistics_of_layers():
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((40, 3)), rng.standard_normal(40)
    net = bp.MLP((3, 5, 4, 1), dtype="float64", random_state=0, connections="all")
    statistics = bp.LayerStatistics(net, X, T)
    net.fit(X, T, epochs=4, callback=statistics)
    r = net.backprop(X, T)
    np.testing.assert_allclose(statistics.z[-1], [np.sqrt((z**2).mean()) for z in r.z[1:]])
    gradient = np.sqrt(
        sum((dw**2).sum() for dw, (_, to) in zip(r.dw, net.connections, strict=True) if to == 2) + (r.db[1] ** 2).sum()
    )
    assert statistics.gradient[-1][1] == pytest.approx(gradient / 40)
    axes = statistics.plot()
    assert [len(ax.lines) for ax in axes] == [3, 3, 3]
    assert repr(statistics) == "LayerStatistics(4 epochs, 3 layers)"


def test_filters():
    net = bp.MLP((64, 100, 10), random_state=0)
    ax = net.plot_filters()
    assert "units 0 to 63 of 100" in ax.get_title()
    image = ax.images[0].get_array()
    np.testing.assert_array_equal(np.asarray(image)[:8, :8], net.weights[0][:, 0].reshape(8, 8))
    assert bp.MLP((6, 3, 1), random_state=0).plot_filters((2, 3)).images
    assert bp.MLP((5, 3, 1), random_state=0).plot_filters().images
    with pytest.raises(ValueError, match=r"shape must be \(rows, columns\) of the 64 inputs; got \(3, 4\)"):
        net.plot_filters((3, 4))


def test_error_bars_and_differences():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (60, 1))
    T = np.sin(3 * X) + 0.1 * rng.standard_normal(X.shape)
    net = bp.MLP((1, 5, 1), dtype="float64", random_state=0)
    net.fit(X, T, epochs=20, optimizer=bp.LevenbergMarquardt(), alpha=0.1)
    ax = net.laplace(X, T).plot(X, T)
    assert len(ax.collections) == 2  # bands
    assert [line.get_label() for line in ax.lines] == ["output of the net", "data"]
    low, high = ax.lines[0].get_xdata()[[0, -1]]
    assert low < X.min() - 0.3
    assert high > X.max() + 0.3
    with pytest.raises(ValueError, match="nets with one input; X has 2 columns"):
        net.laplace(X, T).plot(np.ones((3, 2)), T[:3])
    ax = bp.check_gradients(net, X, T).plot()
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "error" in [line.get_label() for line in ax.lines]


def test_tables_of_nets_in_notebooks():
    text = bp.MLP((4, 6, 3), ["gelu"], connections="all", random_state=0)._repr_html_()
    assert text.count("<tr>") == 4
    assert "<td>2</td><td>3</td><td>&#x27;identity&#x27;</td><td>0, 1</td><td>30</td>" in text
