"""How exactly the label values that carry the change of an aggregate are named, and what that costs.

``--data FOLDER`` holds cubes: case_NNN.csv.gz with a column for each label (l0, l1, ...), `expected` and `observed`, or
expected_errors, expected_total, errors and total of a ratio. ``--answers FILE`` writes case,cause, where a cause is
label=value with & between pairs. Without data it makes its own.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter.correlation.attribution import Carrier, attribute_ratio, attribute_sum

__all__ = ["main", "named", "recorded", "simulated"]

FloatArray = npt.NDArray[np.float64]
Labels = dict[str, list[str]]


def recorded(folder: Path) -> Iterator[tuple[str, Labels, dict[str, FloatArray], set[str]]]:
    """Read cubes; what was planted is not read."""
    for path in sorted(folder.glob("case_*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            header, *rows = csv.reader(file)
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        labels = {name: list(values) for name, values in columns.items() if name[0] == "l" and name[1:].isdigit()}
        numbers = {
            name: np.array(values, np.float64)
            for name, values in columns.items()
            if name not in labels and name != "planted"
        }
        yield path.name.partition(".")[0], labels, numbers, set()


def simulated(count: int = 40, noise: float = 0.05) -> Iterator[tuple[str, Labels, dict[str, FloatArray], set[str]]]:
    """Make cubes of three labels, of which a value or a pair of values falls."""
    sizes = (40, 40, 50)
    codes = np.indices(sizes).reshape(3, -1)
    labels = {f"l{number}": [f"v{code}" for code in row.tolist()] for number, row in enumerate(codes)}
    for case in range(count):
        rng = np.random.default_rng(case)
        expected = 1000.0 * np.exp(rng.normal(0, 1.5, codes.shape[1]))
        names = sorted(rng.choice(3, 1 + case % 2, replace=False).tolist())
        cause = {f"l{name}": f"v{rng.integers(sizes[name])}" for name in names}
        inside = np.all([codes[name] == int(cause[f"l{name}"][1:]) for name in names], axis=0)
        factor = np.where(inside, rng.uniform(0.0, 0.3), 1.0)
        # A pair is a small part of so many, so it is made larger.
        expected[inside] *= 1.0 if len(names) == 1 else 60.0
        observed = expected * factor * np.exp(rng.normal(0, noise, len(expected)))
        yield f"{case}", labels, {"expected": expected, "observed": observed}, {_name(cause)}


def named(labels: Labels, numbers: Mapping[str, FloatArray]) -> tuple[Carrier, ...]:
    """Return what carries the change of a cube."""
    if "expected" in numbers:
        return attribute_sum(labels, numbers["expected"], numbers["observed"])
    order = ("expected_errors", "expected_total", "errors", "total")
    return attribute_ratio(labels, *(numbers[name] for name in order))


def _name(values: Mapping[str, str]) -> str:
    return "&".join(f"{name}={values[name]}" for name in sorted(values))


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with cubes; simulated ones without it")
    parser.add_argument("--answers", type=Path, help="write what is named as CSV")
    args = parser.parse_args(argv)
    answers, exact, cases, most = [], 0, 0, (0.0, 0)
    for case, labels, numbers, truth in recorded(args.data) if args.data else simulated():
        begin = time.process_time()
        causes = {_name(carrier.values) for carrier in named(labels, numbers)}
        took = time.process_time() - begin
        most = max(most, (took, len(next(iter(labels.values())))))
        answers += [(case, cause) for cause in sorted(causes)]
        exact, cases = exact + (causes == truth), cases + 1
    print(f"{cases} cubes" + ("" if args.data else f", {exact} with exactly the label values that were planted"))
    print(f"slowest: {1000 * most[0]:.0f} ms of CPU for {most[1]} leaves")
    if args.answers:
        with args.answers.open("w", newline="") as file:
            csv.writer(file).writerows([("case", "cause"), *answers])
    return 0


if __name__ == "__main__":
    sys.exit(main())
