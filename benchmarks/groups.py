"""How well and at what cost the joint detectors of a group find what is planted in synthetic metrics.

    python -m benchmarks.groups

Twenty things with five metrics each, one sample a minute: two common causes with loadings that differ a little from
thing to thing, autocorrelated, Student-t noise. Learned for three days; then anomalies of 30 minutes are planted.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np

from exporter.engine.multivariate import Group, GroupMatrix, GroupSettings, JointForest, fit

MINUTE, DAY = 60.0, 86400.0
LENGTH = 30
LOADS = ("coordinated load", "uneven load", "strong load")
KINDS = ("broken correlation", "small joint shift", "one metric alone", "shift under load", *LOADS)


def factors(rng, steps, entities, memory):
    out = np.empty((steps, entities))
    state = rng.standard_normal(entities)
    for t in range(steps):
        state = memory * state + np.sqrt(1 - memory**2) * rng.standard_normal(entities)
        out[t] = state
    return out


def metrics(rng, steps, entities, p, individual):
    """Standardised metrics, shape (steps, things, p)."""
    common = rng.normal(0, 1, (2, p))
    own = common + individual * rng.normal(0, 1, (entities, 2, p))
    own /= np.sqrt((own**2).sum(axis=1, keepdims=True) / 0.8)
    causes = np.stack([factors(rng, steps, entities, 0.9) for _ in range(2)], axis=2)
    noise = rng.standard_t(5, (steps, entities, p)) / np.sqrt(5 / 3)
    return np.einsum("tnc,ncp->tnp", causes, own) + np.sqrt(0.2) * noise, own


def plant(rng, z, noise, own):
    """Plant anomalies; returns (z, growth, list of (thing, begin, kind))."""
    steps, entities, p = z.shape
    growth = np.log1p(np.clip(z * noise, -0.9, None))
    events = []
    for entity in range(entities):
        for index, begin in enumerate(range(100 + 30 * entity, steps - 2 * LENGTH, 700)):
            kind = KINDS[(index + entity) % len(KINDS)]
            span = slice(begin, begin + LENGTH)
            part = z[span, entity]
            direction = np.linalg.svd(own[entity])[2][2:].T @ rng.normal(0, 1, p - 2)
            shift = 2.0 * direction / np.abs(direction).max()
            if kind == "broken correlation":
                # One metric goes where the others say it should not; by itself it stays usual.
                part[:, rng.integers(p)] *= -1.0
            elif kind == "small joint shift":
                part += shift
            elif kind == "shift under load":
                # A fifth more of everything is two standard deviations.
                part[...] = (1.2 * (1 + (part + shift) * noise) - 1) / noise
            elif kind == "one metric alone":
                part[:, rng.integers(p)] += 5.0
            else:
                times = np.full(p, 3.0 if kind == "strong load" else 1.5)
                if kind == "uneven load":
                    times **= 1.0 + 0.1 * rng.standard_normal(p)
                part[...] = (times * (1 + part * noise) - 1) / noise
            growth[span, entity] = np.log1p(np.clip(part * noise, -0.9, None))
            events.append((entity, begin, kind))
    return z, growth, events


def run(detector, z, growth, noise, learn):
    group = Group(
        GroupSettings(name="g", queries=tuple(f"q{i}" for i in range(z.shape[2])), detector=detector), 30 * DAY
    )
    entities = z.shape[1]
    group.admit([b'{"pod":"%d"}' % i for i in range(entities)], 0.0)
    noises = np.full(z.shape[1:], noise)
    scores, spent, trained = np.full(z.shape[:2], np.nan), 0.0, 0.0
    for t in range(len(z)):
        at = t * MINUTE
        if isinstance(group.detector, JointForest) and group.detector.due(at):
            begin = perf_counter()
            group.detector.adopt(fit(group.detector.training(at), group.settings.share, at))
            trained += perf_counter() - begin
        begin = perf_counter()
        matrix = GroupMatrix(z[t], growth[t], noises, 1.0 + noises * z[t], np.ones(noises.shape), 0.0 * noises)
        scores[t] = group.step(at, matrix, MINUTE).score
        spent += perf_counter() - begin
    return scores[learn:], spent / z.shape[0] / entities * 1e6, trained


def average_precision(scores, truth, ignore):
    s, y = np.nan_to_num(scores[~ignore]), truth[~ignore]
    order = np.argsort(-s, kind="stable")
    hits = np.cumsum(y[order])
    return float((hits / np.arange(1, len(order) + 1))[y[order]].mean())


def measure(entities, p, individual, learn, seed, detectors):
    rng = np.random.default_rng(seed)
    noise = 0.1
    steps = learn + 2880
    z, own = metrics(rng, steps, entities, p, individual)
    planted, growth, events = plant(rng, z[learn:], noise, own)
    growth = np.concatenate([np.log1p(np.clip(z[:learn] * noise, -0.9, None)), growth])
    z[learn:] = planted
    truth = np.zeros((len(planted), entities), bool)
    ignore = np.zeros_like(truth)
    for entity, begin, kind in events:
        (truth if kind not in LOADS else ignore)[begin : begin + LENGTH, entity] = True
        ignore[begin + LENGTH : begin + LENGTH + 15, entity] = True  # The smoothed score takes a while to fall.
    for detector in detectors:
        scores, cost, trained = run(detector, z, growth, noise, learn)
        flagged = scores >= 0.5
        seen = {kind: [flagged[b : b + LENGTH, n].any() for n, b, k in events if k == kind] for kind in KINDS}
        quiet = ~truth & ~ignore
        print(
            f"  {detector:17} AP {average_precision(scores, truth, ignore):.2f}"
            f"  flagged while quiet {100 * flagged[quiet].mean():.2f} %"
            f"  cost {cost:.1f} us a thing and step, training {trained:.2f} s;  found: "
            + ", ".join(f"{kind} {np.mean(hits):.2f}" for kind, hits in seen.items())
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=20)
    parser.add_argument("--metrics", type=int, default=5)
    parser.add_argument("--learn", type=int, default=2880)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--detectors", nargs="*", default=["whitened", "isolation_forest"])
    args = parser.parse_args()
    for individual in (0.0, 0.3, 1.0):
        for seed in range(args.seeds):
            print(f"loadings differ by {individual}, seed {seed}")
            measure(args.things, args.metrics, individual, args.learn, seed, args.detectors)


if __name__ == "__main__":
    main()
