"""The pictures: what is drawn on the axes, and what is refused."""

import matplotlib as mpl
import numpy as np
import pytest

import bpkernel as bp
from bpkernel import plots
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


def inside(ax):
    """Whether all that is drawn on the axes is in the figure."""
    ax.figure.canvas.draw()
    box, (width, height) = ax.get_tightbbox(), ax.figure.bbox.size
    return box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1


def test_nothing_is_cut_off():
    edges = [("sepal_length", "h"), ("sepal_width", "h"), ("h", "probability"), ("sepal_width", "probability")]
    inputs, outputs = ["sepal_length", "sepal_width"], ["probability"]
    assert inside(bp.MLP.from_edges(edges, inputs, outputs, random_state=0).plot())
    assert inside(bp.MLP((3, 4, 4, 2), connections="all", random_state=0).plot())
    assert all(map(inside, bp.MLP((64, 100, 10), random_state=0).plot(np.zeros(64), np.zeros(10))))


@pytest.mark.parametrize(("layout", "size"), [("constrained", (9, 2.8)), (None, (16, 5))])
def test_numbers_fit_into_their_units_on_given_axes(layout, size):
    axes = plt.subplots(1, 2, figsize=size, layout=layout)[1]
    bp.MLP((3, 6, 5, 2), dtype="float64", random_state=0).plot([1.0, -0.5, -4e-3], [0.8, -0.4], ax=axes)
    axes[0].figure.canvas.draw()
    for ax in axes:
        numbers = [text for text in ax.texts if text.get_text() and "\n" not in text.get_text()]
        assert len(numbers) >= 13
        diameter = drawn(ax, Circle)[0].get_window_extent().width
        assert max(text.get_window_extent().width for text in numbers) < diameter


def test_long_names_are_whole_beside_inputs_and_outputs():
    edges = [("sepal_length", "h"), ("sepal_width", "hidden"), ("h", "y"), ("hidden", "y")]
    net = bp.MLP.from_edges(edges, ["sepal_length", "sepal_width"], ["y"], random_state=0)
    texts = {text.get_text() for text in net.plot().texts}
    assert {"sepal_length", "sepal_width", "h", "hid…", "y"} <= texts


def test_skips_are_curved_and_labels_are_below_them():
    net = bp.MLP((2, 1, 2), connections=[(0, 1), (1, 2), (0, 2)], random_state=0)
    ax = net.plot()
    ax.figure.canvas.draw()
    curved = [line for line in drawn(ax, FancyArrowPatch) if line.get_connectionstyle().rad != 0]
    assert len(curved) == 4
    lowest = min(line.get_window_extent().y0 for line in curved)
    assert all(text.get_window_extent().y1 <= lowest for text in ax.texts if "\n" in text.get_text())


def test_the_target_of_a_sample_may_be_a_class_index():
    net = bp.MLP((2, 3, 3), output_activation="softmax", loss="cross_entropy", dtype="float64", random_state=0)
    faces = [
        [circle.get_facecolor() for ax in net.plot([1, 2], t) for circle in drawn(ax, Circle)] for t in (1, [1], [0, 1, 0])
    ]
    assert faces[0] == faces[1] == faces[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.98, "1.98"),
        (-0.006, "−0.01"),
        (0.004, "4e−3"),
        (9.996, "10.0"),
        (-99.96, "−100"),
        (-12415.08, "−1e4"),
        (3e-12, "3e−12"),
    ],
)
def test_numbers_are_short(value, text):
    assert plots._number(value) == text


def test_colour_bars_are_symmetric_and_labelled():
    forward, backward = bp.MLP((2, 3, 1), dtype="float64", random_state=0).plot([0.5, -3.0], [1.0])
    bars = [ax for ax in forward.figure.axes if ax not in (forward, backward)]
    assert [ax.get_ylabel() for ax in bars] == ["output z", "δ"]
    assert bars[0].get_ylim() == (-3, 3)
    assert bars[1].get_ylim()[0] == -bars[1].get_ylim()[1]


def test_curves_of_one_epoch_and_with_a_score():
    ax = History(5, [2.0], [1.5], [0.5]).plot()
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1]
    assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0  # it covers no curve


def test_statistics_without_epochs_and_on_own_axes():
    statistics = bp.LayerStatistics(bp.MLP((3, 2, 1), random_state=0), np.zeros((1, 3)), [0.0])
    assert [len(ax.lines) for ax in statistics.plot()] == [0, 0, 0]
    with pytest.raises(ValueError, match="ax must be three Axes for this picture; got 2"):
        statistics.plot(plt.subplots(1, 2)[1])


@pytest.mark.parametrize("shape", [8, (-8, -8), (64,), (4, 4, 4), (0, 64)])
def test_shapes_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"shape must be \(rows, columns\) of the 64 inputs"):
        bp.MLP((64, 1), random_state=0).plot_filters(shape)


def test_filters_fill_their_grid():
    ax = bp.MLP((12, 5, 1), random_state=0).plot_filters((12, 1))
    assert ax.images[0].get_array().shape == (12, 9)
    ax = bp.MLP((64, 1), random_state=0).plot_filters((64, 1))
    assert "1 unit" in ax.get_title()
    assert "1 units" not in ax.get_title()
    assert ax.figure.get_size_inches()[1] <= 9


class Wide:
    """A posterior with large standard deviations, of two outputs."""

    def predict(self, X, return_std):
        return np.hstack([X, 2 * X]), np.full((len(X), 2), 100.0)


def test_error_bars_of_wide_bands_and_of_bad_arguments():
    X, T = np.arange(5.0)[:, None], np.arange(10.0).reshape(5, 2)
    ax = plots.error_bars(Wide(), X, T, output=1, levels=(1, 2, 3))
    assert len(ax.collections) == 3
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(2 * 5.0)
    low, high = ax.get_ylim()
    assert -12 < low < 1 - 7  # the data are from 1 to 9
    assert 9 + 7 < high < 22
    low, high = plots.error_bars(Wide(), X, np.ones(5)).get_ylim()
    assert high - low > 100
    for output in (2, -1):
        with pytest.raises(ValueError, match="output must be from 0 to 1"):
            plots.error_bars(Wide(), X, T, output=output)
    with pytest.raises(ValueError, match="T must have one row for each of the 5 samples; got 3"):
        plots.error_bars(Wide(), X, T[:3])
    with pytest.raises(ValueError, match="X must not be empty"):
        plots.error_bars(Wide(), [], [])


def test_guides_of_differences_have_their_slopes():
    steps = np.logspace(-8, 0, 17)
    ax = plots.difference_errors(steps, 1e-16 / steps + steps**2, 1e-5)
    labels = [line.get_label() for line in ax.lines]
    assert labels == ["error", "truncation, ~ h²", "rounding, ~ 1 / h", "chosen step, 1e-05"]
    for line, power in zip(ax.lines[1:3], (2, -1), strict=True):
        x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
        assert np.polyfit(x, y, 1)[0] == pytest.approx(power)


def test_tables_of_nets_in_notebooks():
    text = bp.MLP((4, 6, 3), ["gelu"], connections="all", random_state=0)._repr_html_()
    assert text.count("<tr>") == 4
    assert "<td>2</td><td>3</td><td>&#x27;identity&#x27;</td><td>0, 1</td><td>30</td>" in text
