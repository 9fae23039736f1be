"""Messages from one exporter to the others by way of Alertmanager: short silences that match no alert.

Alertmanager keeps silences over restarts, passes them on in its cluster, and lists them for days after their end
(``--data.retention``, 5 days), so a message reaches an exporter that was down, and no server is needed besides. Whoever
can make a silence can write one: it counts for no more than a silence does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from exporter.calendar import format_instant

__all__ = ["MESSENGER", "Exchange", "Message", "message_in", "silence_of"]

MESSENGER = "anomaly-exporter (message)"
"""``createdBy`` of the silences that are messages."""

_MARK = "From one anomaly-exporter to the others; it silences nothing. "
_LARGEST = 16 * 1024
_LASTS = 60.0
"""Seconds that such a silence is active: it may not end before it arrives."""

Kind = Literal[
    "here",
    "feedback",
    "acknowledgement",
    "withdrawn_feedback",
    "withdrawn_acknowledgement",
    "event",
    "removed_event",
]


class Message(msgspec.Struct, frozen=True):
    """One message.

    Attributes
    ----------
    kind
        ``here``: an exporter runs. The others say what a person did there.
    id : str
        The same message has the same id, whoever sends it again.
    at : float, Unix seconds
        When it happened.
    body : mapping
        Plain values, by kind.
    """

    kind: Kind
    id: str
    at: float
    body: dict[str, Any] = {}


_decode = msgspec.json.Decoder(Message).decode


def message_in(author: str, comment: str) -> Message | None:
    """Return the message that a silence is, or None."""
    if author != MESSENGER or not comment.startswith(_MARK) or len(comment) > 2 * _LARGEST:
        return None
    try:
        return _decode(comment[len(_MARK) :].encode())
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None


def silence_of(message: Message, *, at: float) -> dict[str, object] | None:
    """Return the request body of the silence that carries a message; None where it is too large.

    Parameters
    ----------
    at : float, Unix seconds
        Now, at the Alertmanager.
    """
    text = json.dumps(msgspec.to_builtins(message), separators=(",", ":"))
    if len(text) > _LARGEST:
        return None
    return {
        "matchers": [
            {"name": "anomaly_exporter_message", "value": message.id, "isRegex": False, "isEqual": True},
        ],
        "startsAt": format_instant(at),
        "endsAt": format_instant(at + _LASTS),
        "createdBy": MESSENGER,
        "comment": _MARK + text,
    }


class Exchange:
    """What the messages are about, for the watcher of silences.

    Parameters
    ----------
    take : callable
        Takes all messages that are listed, the same ones in every round, with Unix seconds.
    pending : callable
        Returns, at an instant, the messages that every Alertmanager should list.
    """

    def __init__(
        self,
        take: Callable[[Sequence[Message], float], None] = lambda messages, at: None,  # noqa: ARG005
        pending: Callable[[float], Sequence[Message]] = lambda at: (),  # noqa: ARG005
    ) -> None:
        self.take = take
        self.pending = pending
