"""How often the likely causes of an alert begin with the component that a fault was injected into.

``--data FOLDER`` holds recorded faults: faults.csv (fault, load, affected, metric, time, root_cause), calls.csv (load,
caller, callee) and LOAD.npz (components, signals, normal, window, window_t, faults), as of the PetShop data set. The
samples go through the product's own history of damage and its own ranking. ``--ranks FILE`` writes every ranking as
fault,rank,component.

Without data it makes its own: services that call each other, of which one takes longer or fails.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter.alerting.root_cause import HORIZON
from exporter.correlation.damage import DamageHistory
from exporter.correlation.likely_causes import Ranking, rank_causes

__all__ = ["Fault", "main", "rank", "recorded", "simulated"]

FloatArray = npt.NDArray[np.float64]
STEP = 300.0
MANY = 100
"""Samples from which a recording without faults has quiet windows."""


@dataclass(frozen=True)
class Fault:
    """One fault: `window` and `normal` are (time, component) of seconds or failed requests in a step."""

    name: str
    components: list[str]
    edges: npt.NDArray[np.intp]
    affected: str
    cause: str
    began: float
    times: FloatArray
    window: FloatArray
    normal: FloatArray
    work: FloatArray


def recorded(folder: Path) -> Iterator[Fault]:
    """Read recorded faults."""
    with (folder / "calls.csv").open() as file:
        calls = list(csv.DictReader(file))
    with (folder / "faults.csv").open() as file:
        faults = list(csv.DictReader(file))
    for load in sorted({fault["load"] for fault in faults}):
        data = np.load(folder / f"{load}.npz")
        components, signals = [str(name) for name in data["components"]], [str(name) for name in data["signals"]]
        place = {name: number for number, name in enumerate(components)}
        pairs = [(place[call["caller"]], place[call["callee"]]) for call in calls if call["load"] == load]
        numbers = {str(name): number for number, name in enumerate(data["faults"])}
        for fault in (fault for fault in faults if fault["load"] == load):
            number = numbers[fault["fault"]]
            normal = data["normal"].astype(np.float64)
            if not len(normal):  # The windows of the other faults stand in, as a past that had faults.
                normal = np.delete(data["window"], number, axis=0).reshape(-1, *data["window"].shape[2:])
            window = data["window"][number].astype(np.float64)
            yield Fault(
                fault["fault"],
                components,
                np.array(pairs, np.intp).reshape(-1, 2),
                fault["affected"],
                fault["root_cause"],
                float(fault["time"]),
                data["window_t"][number] + STEP,  # Complete at the end of its step.
                _damage(window, signals, fault["metric"]),
                _damage(normal, signals, fault["metric"]),
                np.nanmedian(_damage(normal, signals, "latency"), axis=0),
            )


def _damage(samples: FloatArray, signals: list[str], metric: str) -> FloatArray:
    rate = samples[:, :, signals.index(f"{metric}_Average")]
    rate = rate if metric == "latency" else 1.0 - rate / 100.0
    return rate * samples[:, :, signals.index("requests_Sum")]


def simulated(count: int = 40, seed: int = 1) -> Iterator[Fault]:
    """Make faults of services that call each other: a front, twelve services, and what they call."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        n = 41
        edges = np.array([(0 if i < 13 else int(rng.integers(1, 13)), i) for i in range(1, n)], np.intp)
        requests, own = rng.uniform(50, 2000, n), np.exp(rng.normal(-4, 1, n))
        cause = int(rng.integers(1, n))
        factor, noise = np.ones((329, n)), np.exp(rng.normal(0, 0.1, (329, n)))
        factor[326:, cause] = rng.uniform(5, 20)
        busy = own * requests * factor * noise
        for caller, callee in edges[::-1]:
            busy[:, caller] += busy[:, callee]
        names = [f"service-{i}" for i in range(n)]
        times = STEP * np.arange(1, 330, dtype=np.float64)
        yield Fault(f"{number}", names, edges, names[0], names[cause], times[325] - 60.0, times[324:], busy[324:],
                    busy[:324], np.median(busy[:324], axis=0))  # fmt: skip


def rank(fault: Fault, *, graph: bool, until: float, quiet: int | None = None) -> Ranking:
    """Rank the components of a fault, as of so many seconds after it began.

    quiet: as if an alert had begun in a recording without a fault, at this sample of it.
    """
    history = DamageHistory(["component"])
    for name in fault.components:
        history.admit((name,))
    history.grow()
    middle = np.nanmedian(fault.normal, axis=0)
    low, high = np.nanquantile(fault.normal, [0.25, 0.75], axis=0)
    width = np.fmax((high - low) / 1.349, np.fmax(0.01 * np.abs(middle), 1e-6))
    began, end = fault.began, fault.began + until
    window = fault.window
    if quiet is not None:
        window, end = fault.normal[quiet : quiet + len(window)], np.inf
    # Where there is a quiet recording, its two hours before. They are too old to say what was there just before.
    past = fault.normal[max(0, (quiet or len(fault.normal)) - 24) :][:24] if len(fault.normal) > MANY else window[:0]
    earlier = fault.times[0] - 1800.0 - STEP * np.arange(len(past), 0, -1)
    for at, samples in zip([*earlier, *fault.times], [*past, *window], strict=True):
        if at > end:
            continue
        here = np.flatnonzero(~np.isnan(samples))
        history.put(at, here, samples[here], middle[here], ((samples - middle) / width)[here])
    measured = history.since(began, slack=HORIZON)
    return rank_causes(
        measured,
        measured.excess,
        fault.work,
        fault.edges if graph else np.zeros((0, 2), np.intp),
        affected=fault.components.index(fault.affected),
        latest=began + max(HORIZON, 2 * STEP),
    )


def _report(faults: list[Fault], label: str, *, graph: bool, until: float, ranks: list[tuple[str, int, str]]) -> None:
    places, took = [], 0.0
    for fault in faults:
        begin = time.process_time()
        ranking = rank(fault, graph=graph, until=until)
        took += time.process_time() - begin
        names = [fault.components[place] for place in ranking.order]
        places.append(names.index(fault.cause) + 1)
        ranks += [(fault.name, place, name) for place, name in enumerate(names, 1)]
    place, cause = np.array(places), np.array([fault.cause for fault in faults])
    macro = np.mean([(place[cause == each] == 1).mean() for each in set(cause.tolist())])
    print(
        f"{label:<44} {(place == 1).mean():>6.3f} {(place <= 3).mean():>6.3f} {(1 / place).mean():>6.3f} {macro:>11.3f}"
        f" {1000 * took / len(faults):>7.2f}"
    )


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with recorded faults; simulated ones without it")
    parser.add_argument("--ranks", type=Path, help="write the rankings as CSV")
    parser.add_argument("--until", type=float, default=np.inf, metavar="MIN", help="minutes after the fault began")
    parser.add_argument("--no-graph", action="store_true", help="of --ranks: as if no dependency were known")
    args = parser.parse_args(argv)
    np.seterr(all="ignore")
    faults = list(recorded(args.data) if args.data else simulated())
    ranks: list[tuple[str, int, str]] = []
    print(f"{f'{len(faults)} faults':<44} {'Top-1':>6} {'Top-3':>6} {'MRR':>6} {'macro Top-1':>11} {'CPU ms':>7}")
    for label, graph, until in (
        ("dependencies known", True, np.inf),
        ("dependencies known, after 10 minutes", True, 600.0),
        ("no dependencies", False, np.inf),
        ("no dependencies, after 10 minutes", False, 600.0),
    ):
        _report(faults, label, graph=graph, until=until, ranks=[])
    windows = [
        rank(fault, graph=True, until=0.0, quiet=begin).likely.any()
        for fault in faults
        if len(fault.normal) > MANY
        for begin in range(24, len(fault.normal) - len(fault.window), len(fault.normal) // 10)
    ]
    if windows:
        print(f"{f'{len(windows)} windows without a fault: name somebody':<44} {sum(windows):>6}")
    if args.ranks:
        _report(faults, "as written", graph=not args.no_graph, until=60.0 * args.until, ranks=ranks)
        with args.ranks.open("w", newline="") as file:
            csv.writer(file).writerows([("fault", "rank", "component"), *ranks])
    return 0


if __name__ == "__main__":
    sys.exit(main())
