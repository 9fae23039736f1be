"""The text of the changes that precede an alert."""

from __future__ import annotations

from exporter.alerting.explanation.formatting import format_span
from exporter.alerting.explanation.why_input import ChangeInput

__all__ = ["preceding_changes"]


def preceding_changes(source: ChangeInput) -> str:
    """Return a line for each change, the newest first.

    >>> from exporter.alerting.explanation.why_input import PrecedingChange
    >>> deploy = PrecedingChange("deploy v1.4.2 of checkout", 1000.0)
    >>> preceding_changes(ChangeInput((deploy,), 1720.0))
    '12 min after deploy v1.4.2 of checkout'
    """
    if not source.changes:
        return source.earlier
    return "\n".join(
        f"{format_span(source.began - change.at)} after {change.text}"
        if source.began - change.at >= 1.0
        else f"at the same time as {change.text}"
        for change in source.changes
    )
