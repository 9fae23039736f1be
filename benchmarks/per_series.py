"""What the tools cost that fit each series by itself: Prophet and statsmodels, beside the engine.

Four weeks of hourly samples are learned and the next one is judged. Prophet is not among our dependencies:
`pip install prophet`, or its line is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import time
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

__all__ = ["main"]

HOUR = 3600.0
MONDAY = 1_760_313_600.0
HOURS = 24 * 28
Samples = npt.NDArray[np.float64]


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.per_series", description=__doc__)
    flags.add_argument("--series", type=int, default=1_000, help="series of the engine")
    flags.add_argument("--fits", type=int, default=5, help="series of the other tools")
    args = flags.parse_args()
    rng = np.random.default_rng(0)
    hours = np.arange(HOURS + 1)[:, None]
    samples = 50.0 + 20.0 * np.sin(hours / 24 * 2 * np.pi) + rng.standard_normal((HOURS + 1, args.series))

    ours, next_sample = _engine(samples)
    print(
        f"anomaly-exporter: {1000 * ours:.2f} ms a series to learn {HOURS} samples and judge one; "
        f"{1e6 * next_sample:.2f} us for each sample after that"
    )
    for name, fit in (("statsmodels' STL", _stl), ("Prophet", _prophet)):
        if name == "Prophet" and importlib.util.find_spec("prophet") is None:
            print("Prophet: not installed here, not measured (pip install prophet)")
            continue
        fit(samples[:, 0])
        begin = time.perf_counter()
        for index in range(args.fits):
            fit(samples[:, index])
        theirs = (time.perf_counter() - begin) / args.fits
        print(
            f"{name}: {1000 * theirs:.1f} ms a series, {theirs / ours:,.0f} times as much, and again for each new fit"
        )
    return 0


def _engine(samples: Samples) -> tuple[float, float]:
    """Return seconds a series: for all samples, and for one that comes later, on average."""
    count = samples.shape[1]
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), max_series=count))
    aligned = engine.align([b'{"series":"%d"}' % i for i in range(count)], samples, MONDAY).samples
    begin = time.perf_counter()
    engine.run(MONDAY + HOUR * np.arange(len(samples)), aligned, HOUR)
    training = (time.perf_counter() - begin) / count
    begin = time.perf_counter()
    for index in range(24):
        engine.step(MONDAY + HOUR * (len(samples) + index), aligned[index], HOUR)
    return training, (time.perf_counter() - begin) / 24 / count


def _stl(samples: Samples) -> None:
    from statsmodels.tsa.seasonal import STL

    residual = STL(samples[:-1], period=168).fit().resid
    assert np.isfinite(residual).all()


def _prophet(samples: Samples) -> None:
    import pandas as pd
    from prophet import Prophet

    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    at = pd.to_datetime(MONDAY + HOUR * np.arange(len(samples)), unit="s")
    model = Prophet()
    model.fit(pd.DataFrame({"ds": at[:-1], "y": samples[:-1]}))
    forecast = model.predict(pd.DataFrame({"ds": at[-1:]}))
    assert np.isfinite(forecast["yhat_upper"]).all()


if __name__ == "__main__":
    sys.exit(main())
