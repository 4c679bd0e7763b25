"""Reports: whole in one file, with pictures and without scripts, and no markup from a table."""

import re
from html.parser import HTMLParser

import pytest

from bpkernel.tables import evidence, figures, report, runs
from bpkernel.tables.nets import Execution
from bpkernel.tables.options import Options
from bpkernel.tables.training_run import TrainingRun

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(trained, title="a table", warnings=()):
    scores = runs.scores_of(trained)
    described = runs.description(trained.run, ["t.csv"], {}) | runs.of_nets(trained, 1.0)

    def page():
        curve = figures.learning_curve(runs.history_of(trained), title, "loss")
        return report.made(trained, title, scores, described, warnings, curve)

    made = page()
    assert made == page()
    return Page(made.decode()), scores


@pytest.mark.parametrize(
    ("target", "changes", "pictures"),
    [("size", {}, 6), ("high", {"loss": "binary_cross_entropy"}, 6), ("score", {}, 4), ("score", {"quantiles": (0.1, 0.5)}, 5)],
)
def test_a_report_is_whole(trained, target, changes, pictures):
    page, scores = page_of(trained(target, ensemble=2, **changes), warnings=["beware"])
    assert page.open == []
    assert page.tags.count("img") == pictures
    assert "script" not in page.tags
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == pictures
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "Warning: beware" in page.text
    main = "accuracy" if target != "score" else "r2"
    assert f"{scores['test'][main]:.4g}" in page.text
    assert f"{scores['guess'][main]:.4g}" in page.text
    for name in evidence.SHOWN:
        assert (evidence.SHOWN[name] in page.text) == (name in scores["test"])


def test_texts_of_a_table_are_no_markup(trained):
    evil = "<script>alert(1)</script>"
    frame = trained("high", ensemble=2).run.splits.rest.reset_index(drop=True)
    frame = frame.rename(columns={"x": evil, "colour": "$\\frac{1}{0}$ & <b>"}).assign(
        high=frame["high"].map({"yes": "</td><img src=x onerror=alert(2)>", "no": '" onload="alert(3)'})
    )
    made = TrainingRun(frame, "high", Options(epochs=2, ensemble=2)).train(Execution())
    page, _ = page_of(made, title=evil, warnings=[evil])
    assert "script" not in page.tags
    assert page.tags.count("img") == 6
    assert not [name for name, _ in page.attributes if re.match("on", name)]
    assert evil in page.text
    assert "</td><img src=x onerror=alert(2)>" in page.text
