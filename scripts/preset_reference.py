"""Write docs/presets.md from the presets (``make reference``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporter.presets import preset, preset_names

__all__ = ["render"]

_HEAD = """# Presets

<!-- Written by `make reference` from exporter/presets. Do not edit by hand. -->

A preset has the queries that are worth learning for one exporter. It is an item of `queries`:

```yaml
queries:
  - preset: node
    only: [node_cpu_utilisation, node_memory_utilisation]   # all of its queries unless given
    interval: 30s                                            # every other field holds for all of them
```

Queries that end in `_full` or `_expiry` look ahead only: they alert when a disk, a quota, a heap, a pool or a
certificate will probably come to its end, and not where it is cleaned or renewed in time ([forecasts](forecast.md)).
What needs a fixed limit now, such as a target that is down, is not here: keep the rules that you have.

Alerts of presets have the label `severity: warning`; `alert: {labels: {severity: ticket}}` changes it. Queries without
`for` below are scored and never alert, unless you add `alert: {for: 10m}`.
"""

_TABLE = """
| query | direction | alerts after | why |
| --- | --- | --- | --- |
"""


def render() -> str:
    """Return the text of docs/presets.md."""
    return _HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    for name in preset_names():
        chosen = preset(name)
        recognised = ", ".join(f"`{metric}`" for metric in chosen.recognised_by)
        yield f"\n## {name}\n\n{chosen.title[:1].upper()}{chosen.title[1:]}. Recognised by {recognised}.\n{_TABLE}"
        for query in chosen.queries:
            alert = query.fields.get("alert")
            after = "-" if alert is None else alert["for"]
            yield f"| `{query.name}` | {query.fields.get('direction', 'both')} | {after} | {query.why} |\n"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "presets.md").write_text(render(), encoding="utf-8")
