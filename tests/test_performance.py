"""The numbers in the documentation are the measured ones, and the code that measures them runs."""

import csv
import io
import re
import shutil
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from rich.console import Console

from bpkernel.cli import bench
from bpkernel.cli.peers import Workload

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # asv_benchmarks is not part of the package; last, so that the installed bpkernel is tested

from asv_benchmarks import peers, pictures, report  # noqa: E402
from asv_benchmarks.compiled_peers import PEERS, installed  # noqa: E402
from asv_benchmarks.forward import forward_pass  # noqa: E402

PAGES = [*report.PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
SMALL = Workload((3, 5, 2), 8, "float32", "classes")


@pytest.fixture(scope="module")
def parts():
    return report.read(report.RECORD)


@pytest.mark.parametrize("page", report.PAGES, ids=lambda path: path.name)
def test_tables_and_numbers_of_a_page_agree_with_the_record(page, parts):
    text = page.read_text()
    assert report.fill(text, report.tables(parts), report.numbers(parts)) == text


def test_a_wrong_number_is_corrected(parts):
    text = (ROOT / "README.md").read_text()
    for wrong in (text.replace("<!--=mean-->", "<!--=mean-->9"), text.replace("<!-- end -->", "| a | b |\n<!-- end -->", 1)):
        assert wrong != text
        assert report.fill(wrong, report.tables(parts), report.numbers(parts)) == text


def test_the_record_is_complete_and_its_pictures_and_report_are_up_to_date(parts, tmp_path):
    of_zen4 = {f"zen4/{name}" for name in ("machine", "peers", "again")}
    assert set(peers.PARTS) | {"machine", "history", "processors", "real_tables"} | of_zen4 == set(parts)
    assert set(report.tables(parts)) == set(report.TABLES)
    shutil.copytree(report.RECORD, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.md", "*.svg"))
    report.write(tmp_path)
    assert (tmp_path / "report.md").read_text() == (report.RECORD / "report.md").read_text()
    for name, picture in pictures.PICTURES.items():
        drawn = (report.RECORD / f"{name}.svg").read_text()
        assert f"sha256 of {picture.part}.csv: {parts[picture.part].attrs['sha256']}" in drawn
        assert f"{name}.svg" in (ROOT / "docs" / "performance.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in report.RECORD.iterdir()}


def test_a_net_is_compared_on_each_processor_with_the_library_that_is_fastest_there(tmp_path):
    lines = ["net,weights,batch,flops_per_sample,trainer,round,us_per_sample,peak_gflops"]
    for name, folder, nets, torch in (("new", tmp_path, "mn", 2.0), ("old", tmp_path / "old", "n", 8.0)):
        folder.mkdir(exist_ok=True)
        (folder / "machine.csv").write_text(f'what,is\nprocessor,"{name} cores, vectors"\n')
        libraries = (("bpkernel", 1), ("A", torch), ("B", 4))
        times = [f"{net},10,2,100,{library},0,{us},1.0" for net in nets for library, us in libraries]
        (folder / "peers.csv").write_text("\n".join(lines + times) + "\n")
    rows = report.tables(report.read(tmp_path))["processors"].splitlines()
    assert rows[0].split(" | ")[1::2] == ["new cores: share of peak", "old cores: share of peak"]
    assert rows[2:] == [
        "| m | 10% | 2.0 (2.0-2.0) A |  |  |",
        "| n | 10% | 2.0 (2.0-2.0) A | 10% | 4.0 (4.0-4.0) B |",
    ]


def test_ratios_are_medians_of_ratios_within_rounds(tmp_path):
    lines = ["net,weights,batch,flops_per_sample,trainer,round,us_per_sample,peak_gflops"]
    for i, (ours, theirs) in enumerate([(1.0, 2.0), (1.0, 3.0), (2.0, 20.0)]):
        lines += [f"n,10,2,100,bpkernel,{i},{ours},1.0", f"n,10,2,100,JAX,{i},{theirs},1.0"]
    (tmp_path / "peers.csv").write_text("\n".join(lines) + "\n")
    row = report.tables(report.read(tmp_path))["peers"].splitlines()[-1]
    assert row == "| n | 1,000,000 | 10% | 3.0 (2.5-6.5) |"


# a figure with a unit of time, memory or speed, or "times"
UNITS = r"(?:ns|µs|us|ms|s|seconds?|minutes?|picoseconds|MB|GB|%|times|GFLOP/s|samples/s)"
MEASURED = re.compile(rf"(?<![\w.])\d[\d,.]*(?:\s*(?:to|-|–|and)\s*\d[\d.,]*)?\s*{UNITS}(?!\w)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_figure_of_a_page_is_filled_in_from_a_file(page):
    text = page.read_text()
    for measured in (r"```.*?```", r"<!-- table: \w+ -->.*?<!-- end -->", r"<!--=[^>]*-->.*?<!--/-->", r"`[^`]*`"):
        text = re.sub(measured, "", text, flags=re.DOTALL)
    assert MEASURED.findall(text) == []
    assert MEASURED.findall("in 3.5 to 4 ms, 12 times") == ["3.5 to 4 ms", "12 times"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_have_targets(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_flops_of_a_step_by_hand():
    workload = Workload((2, 3, 4), 1, "float32", "numbers")
    assert workload.weights == 2 * 3 + 3 * 4
    assert workload.flops == 4 * 3 * 3 + 6 * 4 * 4  # with the biases


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("name", [name for name in installed() if name != "PyTorch compiled"])  # which takes half a minute
def test_every_peer_trains(name, kind):
    peer = PEERS[name](SMALL._replace(kind=kind), numba.get_num_threads())
    peer.train(2)
    forward_pass(peer)()


def test_calls_are_timed_in_turn_and_the_peak_in_every_round(monkeypatch):
    monkeypatch.setattr(bench, "PAUSE", 0.0)
    order, peaks = [], iter(range(1, 100))
    calls = {name: lambda times, name=name: order.append(name) for name in "ab"}
    timing = bench.take_turns(calls, 3, 0.0, lambda: float(next(peaks)))
    assert "".join(order) == "aaabbb" + "ab" * 3
    assert timing.peak.tolist() == [2, 4, 6]
    assert {name: times.shape for name, times in timing.seconds.items()} == {"a": (3,), "b": (3,)}


def test_bars_are_as_long_as_rates_are_high():
    timing = bench.Timing({"bpkernel": np.array([1.0, 1.0, 1.0]), "other": np.array([2.0, 4.0, 3.0])}, np.full(3, 1e9))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(bench.table_of(SMALL, timing))
    lines = console.export_text().splitlines()
    assert lines[2].count("█") == 24
    assert lines[3].count("█") == 8
    assert "3.0 (2.5-3.5)" in lines[3]


def test_the_peak_is_some_flops_a_second():
    assert 1e8 < bench.peak("float64", 1)() < 1e13


def test_a_part_is_measured_and_reported(tmp_path, capsys):
    peers.main(["--parts", "functions", "--rounds", "1", "--output", str(tmp_path)])
    assert "| tanh, float64 |" in (tmp_path / "report.md").read_text()
    with open(tmp_path / "functions.csv") as file:
        assert len(list(csv.DictReader(file))) == 8
    (tmp_path / "machine.csv").write_text("what,is\nprocessor,another\n")
    with pytest.raises(SystemExit):
        peers.main(["--parts", "functions", "--rounds", "1", "--output", str(tmp_path)])
    assert "another machine" in capsys.readouterr().err
