"""The history of selected commits, measured by `asv run`, as a CSV file of the performance record.

    cd asv_benchmarks && asv run --interleave-rounds HASHFILE:commits.txt && cd ..    # some minutes per commit
    python -m asv_benchmarks.history && python -m asv_benchmarks.report

`asv publish` makes a web site of all benchmarks from the same results.
"""

import ast
import json
import math
import subprocess
from collections.abc import Iterator
from itertools import product
from typing import Any

from asv_benchmarks.report import RECORD, ROOT
from bpkernel.cli.bench import as_csv
from bpkernel.serialization import write_atomically

RESULTS = ROOT / "asv_benchmarks" / "results" / "zen4-2-processors"  # results of one machine
THREADS = "2"
SHOWN = {"training.Epoch.time_epoch", "estimators.BesideScikitLearn.track_ratio", "rates.BesideReference.track_ratio"}


def git(*arguments: str) -> str:
    """The output of a git command in this repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def records() -> Iterator[dict[str, Any]]:
    """A record for each commit, benchmark and parameter with a value; times have quartiles."""
    for path in sorted(RESULTS.glob("*-*.json")):
        run = json.loads(path.read_text())
        if run["env_vars"]["NUMBA_NUM_THREADS"] != THREADS:
            continue
        subject, date = git("show", "--no-patch", "--format=%s%n%cI", run["commit_hash"]).splitlines()
        for benchmark in sorted(SHOWN & set(run["results"])):
            result = dict(zip(run["result_columns"], run["results"][benchmark], strict=False))
            values = result["result"] or []
            low, high = (result.get(f"stats_q_{percent}") or values for percent in (25, 75))
            names = [", ".join(map(str, map(ast.literal_eval, of))) for of in product(*result["params"])]
            for name, value, *quartiles in zip(names, values, low, high, strict=False):
                if value is not None and not math.isnan(value):
                    yield {
                        "date": date,
                        "commit": run["commit_hash"][:8],
                        "subject": subject,
                        "benchmark": benchmark,
                        "parameter": name,
                        "value": f"{value:.5g}",
                        "low": f"{quartiles[0]:.5g}",
                        "high": f"{quartiles[1]:.5g}",
                    }


def main() -> None:
    """Write `history.csv`, oldest commit first."""
    write_atomically(RECORD / "history.csv", as_csv(sorted(records(), key=lambda record: record["date"])))


if __name__ == "__main__":
    main()
