"""The text about feedback on alerts like this."""

from __future__ import annotations

from exporter.alerting.explanation.why_input import VerdictsInput

__all__ = ["verdicts"]


def verdicts(source: VerdictsInput) -> str:
    """Return how often alerts like this were confirmed.

    >>> verdicts(VerdictsInput("of this series", 9, 2, 1))
    '9 of 12 alerts of this series that somebody judged were real (75 %); 2 were false alarms, 1 was expected'
    """
    if not source.total:
        return ""
    others = (
        (source.false_alarms, "a false alarm", "false alarms"),
        (source.expected, "expected", "expected"),
        (source.accepted, "the new normal", "the new normal"),
    )
    parts = [f"{count} {f'was {single}' if count == 1 else f'were {many}'}" for count, single, many in others if count]
    share = f"{100 * source.share:.0f} %"
    subject = "alert" if source.total == 1 else "alerts"
    text = f"{source.confirmed} of {source.total} {subject} {source.like} that somebody judged"
    text += f" {'was' if source.total == 1 else 'were'} real ({share})"
    return "; ".join([text, ", ".join(parts)]) if parts else text
