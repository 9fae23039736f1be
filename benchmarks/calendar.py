"""What matching costs: 100,000 series under 5,000 silences. ``python -m benchmarks.calendar``."""

from __future__ import annotations

from time import perf_counter

from exporter.calendar import TimeWindow, parse_matcher
from exporter.config.model import Config
from exporter.engine.series import SeriesTable, key_of
from exporter.silences.silence import Silence, SilenceIndex
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks

SERIES, SILENCES = 100_000, 5_000


def silence(number: int) -> Silence:
    texts = [
        f'instance="host{number}:9100"',
        f'instance=~"host{number}[0-9]:.*"',
        f'alertname="Other{number}"',
        f'pod="pod-{number}"',
        f'namespace="ns{number % 50}"',
    ]
    matchers = (parse_matcher(texts[number % 5]), parse_matcher('query="cpu"' if number % 2 else 'severity!="info"'))
    return Silence(str(number), matchers, TimeWindow(0.0, 2e9), "", False, "eve", "")


def main() -> None:
    table = SeriesTable(2 * SERIES)

    def series(number: int) -> bytes:
        labels = {"instance": f"host{number}:9100", "job": "node", "namespace": f"ns{number % 100}", "zone": "a"}
        return key_of(tuple(sorted(labels.items())))

    table.find([series(number) for number in range(SERIES)])
    silence_indexes = [SilenceIndex([silence(number) for number in range(SILENCES)]) for _ in range(2)]
    now = [silence_indexes[0]]
    treatments = SampleMasks(ActiveEvents(lambda: now[0]), {"cluster": "a"})
    plan = Config.model_validate({"queries": [{"name": "cpu", "expr": "up", "alert": {}}]}).plans()[0]

    def took(what: str) -> None:
        begin = perf_counter()
        mask = treatments.row_mask("query", plan.name, plan.alert, table, 1e9)
        masked = 0 if mask is None else int((~mask.samples.learn).sum())
        print(f"{what:55} {(perf_counter() - begin) * 1000:9.2f} ms  {masked} masked")

    took("first time")
    took("nothing changed")
    table.find([series(number) for number in range(SERIES, SERIES + 100)])
    took("100 new series")
    now[0] = SilenceIndex([*silence_indexes[0].silences, silence(SILENCES)])
    took("one more silence")
    now[0] = SilenceIndex()
    took("no silence")


if __name__ == "__main__":
    main()
