"""History: its table, and how it is shown."""

import pytest

import bpkernel as bp
from bpkernel.history import History


def test_to_frame_has_a_row_for_each_epoch():
    X, T = [[0.0], [1.0]], [0.0, 1.0]
    history = bp.MLP((1, 1), random_state=0).fit(X, T, epochs=3, validation_data=(X, T))
    frame = history.to_frame()
    assert list(frame.columns) == ["loss", "validation_loss", "seconds"]
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.index.name == "epoch"
    assert frame["loss"].tolist() == history.loss
    assert len(History(5).to_frame()) == 0


def test_repr_says_how_the_loss_went():
    assert repr(History(5)) == "History(no epochs, 5 samples)"
    history = History(5, [2.0, 1.0], [3.0, 2.5], seconds=[0.5, 0.25], best_epoch=1, stop_reason="gradient")
    text = "History(2 epochs, loss 2 to 1, validation loss 3 to 2.5, best epoch 2, 0.75 s, stopped: gradient)"
    assert repr(history) == text
    assert "<table" in history._repr_html_()
    assert text in history._repr_html_()


def test_an_interrupted_epoch_is_not_in_the_table():
    history = History(5, [2.0, 1.0], [3.0], seconds=[0.5, 0.25, 0.25])
    frame = history.to_frame()
    assert len(frame) == 2
    assert frame["seconds"].tolist() == [0.5, 0.25]
    assert frame["validation_loss"].isna().tolist() == [False, True]
    assert history.loss[-1] == pytest.approx(1.0)
