from __future__ import annotations

from pathlib import Path

from exporter.config.load import load

QUERIES = "queries: [{name: cpu, expr: up}, {name: latency, expr: up}]\n"


def test_a_group_has_a_contamination_that_fits_its_detector(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    forest = "  - {name: b, queries: [cpu, latency], by: [pod], detector: isolation_forest}\n"
    file.write_text(f"groups:\n  - {{name: a, queries: [cpu, latency]}}\n{forest}{QUERIES}")
    first, second = load(file).config.groups
    assert (first.detector, first.contamination, first.by) == ("whitened", None, ())
    assert (second.detector, second.forest_contamination, second.by) == ("isolation_forest", 0.02, ("pod",))
