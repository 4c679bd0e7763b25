"""Tables, quoted numbers and a report, made from the CSV files of `asv_benchmarks.peers`.

    python -m asv_benchmarks.report      # redraw docs/performance and update README.md and docs/*.md from it

In a page, this module writes the table between `<!-- table: NAME -->` and `<!-- end -->` and the number between
`<!--=NAME-->` and `<!--/-->`.  Neither is edited by hand; a test compares both with the CSV files.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from asv_benchmarks import pictures
from bpkernel.cli.bench import spread
from bpkernel.serialization import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "performance"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LIBXSMM = {  # share of peak of LIBXSMM-DNN, hand-tuned C: 184, 139 and 118 of 226 GFLOP/s on two Zen 4 cores
    "1024-1024-1024-1024, batch 256, f32, relu": 184 / 226,
    "512-512-512-512, batch 256, f32, relu": 139 / 226,
    "64-128-64, batch 192, f32, relu": 118 / 226,
}


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the measurements of a folder, and of other processors in its subfolders.

    The keys are the paths of the CSV files, and "processors" for the training on all processors together.
    """
    parts = {path.relative_to(folder).with_suffix("").as_posix(): pd.read_csv(path) for path in sorted(folder.rglob("*.csv"))}
    for name, frame in parts.items():
        frame.attrs["sha256"] = hashlib.sha256((folder / f"{name}.csv").read_bytes()).hexdigest()
    if {"peers", "machine"} <= set(parts):
        parts["processors"] = of_all_processors(parts)
    return parts


def of_all_processors(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the training of all nets on all processors, with a column `processor`."""
    folders = ["", *(name.removesuffix("peers") for name in parts if name.endswith("/peers"))]
    names = [parts[f"{folder}machine"].set_index("what").loc["processor", "is"].split(",")[0] for folder in folders]
    return pd.concat([parts[f"{folder}peers"].assign(processor=name) for folder, name in zip(folders, names, strict=True)])


def each(frame: pd.DataFrame, by: str | list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Iterate over groups in the order of the file."""
    return iter(frame.groupby(by, sort=False))


def rounds(frame: pd.DataFrame, who: str, value: str) -> dict[str, np.ndarray]:
    """Return the values of all rounds, for each entry of the column `who`."""
    return {name: some.sort_values("round")[value].to_numpy() for name, some in each(frame, who)}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def duration(seconds: float) -> str:
    """Format a time with three digits in s, ms, µs or ns."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:,.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def ratios_of(frame: pd.DataFrame, value: str, who: str = "trainer", ours: str = "bpkernel") -> dict[str, np.ndarray]:
    """Return the time of each other entry divided by that of `ours`, for each round."""
    times = rounds(frame, who, value)
    return {name: other / times[ours] for name, other in times.items() if name != ours}


def medians_of(frame: pd.DataFrame) -> dict[str, float]:
    """Return the median speed-up over each other library in the training of a net."""
    return {name: float(np.median(ratio)) for name, ratio in ratios_of(frame, "us_per_sample").items()}


def share_of_peak(frame: pd.DataFrame) -> np.ndarray:
    """Return bpkernel's share of peak, for each round."""
    ours = frame[frame["trainer"] == "bpkernel"]
    return (1e-3 * ours["flops_per_sample"] / ours["us_per_sample"] / ours["peak_gflops"]).to_numpy()


def machine(frame: pd.DataFrame) -> str:
    """One row per property of the machine."""
    return markdown(["", ""], [[what, value] for what, value in zip(frame["what"], frame["is"], strict=True)]).replace(
        "---:", "---"
    )


def peers(frame: pd.DataFrame) -> str:
    """One row per net, one column per library."""
    others = [name for name in frame["trainer"].unique() if name != "bpkernel"]
    rows = []
    for net, some in each(frame, "net"):
        rate = 1e6 / np.median(rounds(some, "trainer", "us_per_sample")["bpkernel"])
        ratios = ratios_of(some, "us_per_sample")
        rows.append([net, f"{rate:,.0f}", f"{np.median(share_of_peak(some)):.0%}", *(spread(ratios[name]) for name in others)])
    return markdown(["net", "samples/s", "share of peak", *(f"speed-up over {name}" for name in others)], rows)


def processors(frame: pd.DataFrame) -> str:
    """One row per net; for each processor the share of peak, and the speed-up over the library that is fastest there."""
    names = list(frame["processor"].unique())
    rows = []
    for net, some in each(frame, "net"):
        row = [net]
        for name in names:
            here = some[some["processor"] == name]
            if here.empty:
                row += ["", ""]
                continue
            medians = medians_of(here)
            fastest = min(medians, key=medians.__getitem__)
            speed_up = spread(ratios_of(here, "us_per_sample")[fastest])
            row += [f"{np.median(share_of_peak(here)):.0%}", f"{speed_up} {fastest}"]
        rows.append(row)
    header = [f"{name}: {what}" for name in names for what in ("share of peak", "speed-up over the fastest other")]
    return markdown(["net", *header], rows)


def libxsmm(frame: pd.DataFrame) -> str:
    """Share of peak, and the published share of LIBXSMM-DNN."""
    rows = []
    for net, some in each(frame, "net"):
        rate = 1e-3 * some["flops_per_sample"] / some["us_per_sample"]
        rows.append([net, f"{rate.median():.0f}", spread(100 * share_of_peak(some), 0), f"{100 * LIBXSMM[net]:.0f}"])
    return markdown(["net, SGD", "GFLOP/s", "% of peak", "LIBXSMM-DNN: % of peak"], rows)


def threads(frame: pd.DataFrame) -> str:
    """Speed-up of all threads over one."""
    n = str(frame["trainer"].astype(int).max())
    frame = frame.assign(trainer=frame["trainer"].astype(str))
    rows = [[net, spread(ratios_of(some, "us_per_sample", ours=n)["1"], 2)] for net, some in each(frame, "net")]
    return markdown(["net", f"speed-up of {n} threads over 1"], rows)


def growth(frame: pd.DataFrame) -> str:
    """Time of a training step against number of weights and batch size, and the speed-up over the other libraries."""
    frame = frame[frame["what"] == "step"]
    others = [name for name in frame["trainer"].unique() if name != "bpkernel"]
    rows = []
    for (net, weights), some in each(frame, ["net", "weights"]):
        ours = rounds(some, "trainer", "us_per_sample")["bpkernel"]
        ps, step = 1e6 * ours / weights, 1e-6 * float(np.median(ours)) * some["batch"].iloc[0]
        ratios = ratios_of(some, "us_per_sample")
        each_weight = spread(ps, 0 if np.median(ps) >= 100 else 1)
        rows.append([net, f"{weights:,}", duration(step), each_weight, *(spread(ratios[name]) for name in others)])
    return markdown(
        ["net", "weights", "time per step", "ps per weight and sample", *(f"speed-up over {name}" for name in others)], rows
    )


def backward(frame: pd.DataFrame) -> str:
    """Time of the backward pass and the optimizer's step, divided by that of the forward pass."""
    frame = frame[frame["axis"] == "weights"]
    names = list(frame["trainer"].unique())
    rows = []
    for weights, some in each(frame, "weights"):
        row = [f"{weights:,}"]
        for name in names:
            steps = rounds(some[some["trainer"] == name], "what", "us_per_sample")
            row.append(spread(steps["step"] / steps["forward"] - 1))
        rows.append(row)
    return markdown(["weights", *names], rows)


def differences(frame: pd.DataFrame) -> str:
    """Time of the gradient by back-propagation and by central differences."""
    rows = []
    for weights, some in each(frame, "weights"):
        times = rounds(some, "method", "us")
        ratio = times["central differences"] / times["back-propagation"]
        medians = [duration(1e-6 * float(np.median(t))) for t in times.values()]
        rows.append([f"{weights:,}", *medians, spread(ratio, 0), f"{some['largest_error'].max():.0e}"])
    return markdown(["weights", *frame["method"].unique(), "speed-up", "largest difference"], rows)


def one_row(frame: pd.DataFrame) -> str:
    """Microseconds per call."""
    return markdown(["one row, 30-64-64-1", "µs"], [[name, spread(us)] for name, us in rounds(frame, "trainer", "us").items()])


def first_fit(frame: pd.DataFrame) -> str:
    """Seconds of the import and of the first fit of a process."""
    rows = []
    for (what, dtype, cache), some in each(frame, ["what", "dtype", "cache"]):
        if what == "first fit" or (dtype, cache) == ("float32", "cached"):
            rows.append([what if what == "import" else f"{what}, {dtype}, {cache}", spread(some["seconds"].to_numpy(), 2)])
    return markdown(["", "seconds"], rows)


def functions(frame: pd.DataFrame) -> str:
    """Nanoseconds per number."""
    rows = []
    for (name, dtype), some in each(frame, ["function", "dtype"]):
        rows.append([f"{name}, {dtype}", *(spread(ns, 2) for ns in rounds(some, "library", "ns").values())])
    return markdown(["ns per number", *frame["library"].unique()], rows)


def drop_in(frame: pd.DataFrame) -> str:
    """The estimators compared with scikit-learn's."""
    rows = []
    for case, some in each(frame, "case"):
        times = rounds(some, "library", "seconds")
        rows.append(
            [case, spread(times["scikit-learn"] / times["bpkernel"]), *(duration(float(np.median(t))) for t in times.values())]
        )
    return markdown(["", "speed-up over scikit-learn", "bpkernel", "scikit-learn"], rows)


def memory(frame: pd.DataFrame) -> str:
    """Peak memory of a fit."""
    rows = []
    for label, column in (("added by the fit", "grown_mb"), ("whole process, imports included", "process_mb")):
        rows.append([label, *(f"{np.median(mb):.0f} MB" for mb in rounds(frame, "library", column).values())])
    return markdown(["fit of 200,000 × 100 float32", *frame["library"].unique()], rows)


def real_tables(frame: pd.DataFrame) -> str:
    """Scores of `bpkernel train` on published tables beside those of other models: mean and standard deviation of the seeds."""
    others = [name for name in frame["model"].unique() if name != "bpkernel"]
    rows = []
    for name, some in each(frame, "table"):
        scores = {model: own.sort_values("seed")["value"].to_numpy() for model, own in each(some, "model")}
        best = max((model for model in others if model != "bpkernel before"), key=lambda model: scores[model].mean())
        gain = scores["bpkernel"] - scores[best]
        first = some.iloc[0]
        cells = [f"{scores[model].mean():.3f} ± {scores[model].std(ddof=1):.3f}" for model in ("bpkernel", *others)]
        seconds = some.loc[some["model"] == "bpkernel", "seconds"].mean()
        what = f"{name}, {first['rows']:,} × {first['columns']}, {first['score']}"
        rows.append([what, *cells, f"{gain.mean():+.3f} ± {gain.std(ddof=1) / np.sqrt(len(gain)):.3f}", f"{seconds:.1f} s"])
    header = ["table, rows × columns, score", "bpkernel", *others, "lead over the better of the last two", "seconds"]
    return markdown([name.replace("bpkernel before", "defaults before") for name in header], rows)


def history(frame: pd.DataFrame) -> str:
    """Time of an epoch, for each commit."""
    nets = [net for net in pictures.SHOWN if net in set(frame["parameter"])]
    rows = []
    for (commit, subject), some in each(frame, ["commit", "subject"]):
        seconds = some[some["benchmark"] == "training.Epoch.time_epoch"].set_index("parameter")["value"]
        ratio = some[some["benchmark"] == "estimators.BesideScikitLearn.track_ratio"].set_index("parameter")["value"]
        times = [duration(seconds[net]) if net in seconds else "" for net in nets]
        rows.append([f"{commit} {subject}", *times, f"{ratio['float32']:.1f}" if "float32" in ratio else ""])
    header = [net.removesuffix(" relu") for net in nets]
    return markdown(["commit", *header, "digits: speed-up over scikit-learn"], rows)


# name of the table: (part of the record, function, heading in the report)
TABLES: dict[str, tuple[str, Callable[[pd.DataFrame], str], str]] = {
    "machine": ("machine", machine, "Machine"),
    "peers": ("peers", peers, "Training compared with other libraries"),
    "processors": ("processors", processors, "Training on several processors"),
    "libxsmm": ("libxsmm", libxsmm, "Comparison with LIBXSMM-DNN"),
    "threads": ("threads", threads, "Threads"),
    "growth": ("growth", growth, "Cost against number of weights and batch size"),
    "backward": ("growth", backward, "Backward pass relative to forward pass"),
    "differences": ("differences", differences, "Back-propagation and central differences"),
    "one_row": ("one_row", one_row, "Prediction of one row"),
    "first_fit": ("first_fit", first_fit, "Import and first fit of a process"),
    "functions": ("functions", functions, "exp and tanh"),
    "drop_in": ("drop_in", drop_in, "Estimators"),
    "real_tables": ("real_tables", real_tables, "Published tables"),
    "memory": ("memory", memory, "Memory"),
    "history": ("history", history, "Time of an epoch, by commit"),
}


def tables(parts: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Make the tables whose part has been measured."""
    return {name: make(parts[part]) for name, (part, make, _) in TABLES.items() if part in parts}


def numbers(parts: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Compute the numbers that the documentation quotes."""
    quoted = again(parts["zen4/peers"], parts["zen4/again"])
    best, by_trainer = [], {}
    for _, some in each(parts["peers"], "net"):
        medians = medians_of(some)
        best.append(min(medians.values()))
        for name, ratio in medians.items():
            by_trainer.setdefault(name, []).append(ratio)
    quoted["least"] = f"{min(best):.1f}"
    quoted["mean"] = f"{np.exp(np.mean(np.log(best))):.1f}"
    for name, ratios in by_trainer.items():
        quoted[f"mean {name}"] = f"{np.exp(np.mean(np.log(ratios))):.1f}"
        for which, ratio in (("least", min(ratios)), ("most", max(ratios))):
            quoted[f"{which} {name}"] = f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"
    steps = parts["growth"][parts["growth"]["what"] == "step"]
    widest = ratios_of(steps[steps["weights"] == steps["weights"].max()], "us_per_sample")
    quoted |= {f"widest {name}": f"{np.median(ratio):.1f}" for name, ratio in widest.items()}
    fits = parts["first_fit"]
    for what, cache in (("first fit", "cold"), ("first fit", "cached"), ("import", "cached")):
        some = fits[(fits["what"] == what) & (fits["cache"] == cache)]["seconds"].median()
        quoted[f"{what} {cache}"] = f"{some:.0f}" if some > 2 else f"{some:.1f}"
    single = parts["functions"][parts["functions"]["dtype"] == "float32"]
    for (name, library), some in each(single, ["function", "library"]):
        quoted[f"{name} {library}"] = f"{some['ns'].median():.2g}"
    whole = {name: float(np.median(mb)) for name, mb in rounds(parts["memory"], "library", "process_mb").items()}
    quoted["extra MB"] = f"{whole['bpkernel'] - whole['scikit-learn']:.0f}"
    return quoted


def again(record: pd.DataFrame, later: pd.DataFrame) -> dict[str, str]:
    """Compare the medians of a later run of the same command with those of a run."""
    within, differences = [], []
    for (_, some), (_, same) in zip(each(record, "net"), each(later, "net"), strict=True):
        first, second = ratios_of(some, "us_per_sample"), ratios_of(same, "us_per_sample")
        for name, ratio in first.items():
            median = np.median(second[name])
            within.append(ratio.min() <= median <= ratio.max())
            differences.append(abs(median / np.median(ratio) - 1))
    return {
        "again within": f"{sum(within)} of {len(within)}",
        "again difference": f"{np.median(differences):.0%}",
        "again largest": f"{max(differences):.0%}",
    }


def fill(page: str, tables: dict[str, str], numbers: dict[str, str]) -> str:
    """Fill the tables and numbers of a page."""

    def table(found: re.Match[str]) -> str:
        return f"{found[1]}\n{tables[found[2]]}\n{found[3]}"

    def number(found: re.Match[str]) -> str:
        return f"{found[1]}{numbers[found[2]]}{found[3]}"

    page = re.sub(r"(<!-- table: (\w+) -->).*?(<!-- end -->)", table, page, flags=re.DOTALL)
    return re.sub(r"(<!--=([^>]*)-->).*?(<!--/-->)", number, page)


def write(folder: Path) -> None:
    """Write `report.md` and the pictures of a folder of measurements into that folder."""
    parts = read(folder)
    lines = ["# Measured by `python -m asv_benchmarks.peers`"]
    drawn = pictures.draw(parts)
    for name, text in tables(parts).items():
        lines += [f"## {TABLES[name][2]}", text]
        lines += [f"![{pictures.PICTURES[name].words}]({name}.svg)"] if name in drawn else []
    for name, svg in drawn.items():
        write_atomically(folder / f"{name}.svg", svg)
    write_atomically(folder / "report.md", ("\n\n".join(lines) + "\n").encode())


def main() -> None:
    """Redraw the record in docs/performance and update the pages."""
    write(RECORD)
    parts = read(RECORD)
    for path in PAGES:
        write_atomically(path, fill(path.read_text(), tables(parts), numbers(parts)).encode())


if __name__ == "__main__":
    main()
