"""How often comparisons without a difference alarm, how soon one is found, and what a comparison costs.

python -m benchmarks.canary [--comparisons=1500] [--slots=300]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time

import numpy as np

from exporter.engine.canary.sequential import PAIRS, SequentialTest

Noise = Callable[[np.random.Generator, int, int], np.ndarray]
ALPHAS = (0.05, 0.01, 0.001)


def normal(rng: np.random.Generator, slots: int, width: int) -> np.ndarray:
    """Independent noise."""
    return rng.standard_normal((slots, width))


def student(freedom: float) -> Noise:
    """Return noise with heavy tails."""
    return lambda rng, slots, width: rng.standard_t(freedom, (slots, width))


def autocorrelated(coefficient: float, draw: Noise) -> Noise:
    """Return noise of which a part goes on from slot to slot."""

    def noise(rng: np.random.Generator, slots: int, width: int) -> np.ndarray:
        samples = draw(rng, slots + 100, width)
        for slot in range(1, slots + 100):
            samples[slot] += coefficient * samples[slot - 1]
        return samples[100:]

    return noise


def overlapping(rng: np.random.Generator, slots: int, width: int) -> np.ndarray:
    """Noise as `rate` over five slots has it."""
    samples = np.cumsum(rng.standard_normal((slots + 5, width)), axis=0)
    return samples[5:] - samples[:-5]


NOISES: dict[str, Noise] = {
    "independent": normal,
    "Student t, 2 degrees": student(2.0),
    "autocorrelation .5": autocorrelated(0.5, normal),
    "autocorrelation .8, Student t, 3 degrees": autocorrelated(0.8, student(3.0)),
    "autocorrelation .9": autocorrelated(0.9, normal),
    "autocorrelation .95": autocorrelated(0.95, normal),
    "rate over five slots": overlapping,
}


def evidence_of(differences: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the evidence after each slot, (slots, comparisons), and microseconds of CPU a comparison and slot."""
    slots, width = differences.shape
    test = SequentialTest()
    test.grow(width)
    pairs, floors, evidence = np.full((PAIRS, width), np.nan), np.zeros(width), np.empty((slots, width))
    begin = process_time()
    for slot in range(slots):
        pairs[0] = differences[slot]
        test.step(60.0 * slot, pairs, floors)
        evidence[slot] = test.evidence.max(axis=0)
    return evidence, 1e6 * (process_time() - begin) / slots / width


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1500)
    parser.add_argument("--slots", type=int, default=300)
    args = parser.parse_args()
    for name, noise in NOISES.items():
        differences = noise(np.random.default_rng(5), args.slots, args.comparisons)
        evidence, cost = evidence_of(differences)
        shares = " ".join(f"{alpha}: {(evidence[-1] >= np.log(2.0 / alpha)).mean():.4f}" for alpha in ALPHAS)
        print(f"{name:42} false alarms at {shares}; {cost:.1f} us a comparison and slot", flush=True)
        few = differences[:, :300] / (np.median(np.abs(differences)) / 0.6745)
        for size in (1.0, 3.0, 10.0):
            proven = evidence_of(few + size)[0] >= np.log(2.0 / 0.001)
            when = np.where(proven.any(axis=0), proven.argmax(axis=0) + 1.0, np.inf)
            print(
                f"  {size:4g} sigma: {np.isfinite(when).mean():.2f} found, median {np.median(when):g} slots", flush=True
            )


if __name__ == "__main__":
    main()
