"""Names, lengths and characters of labels, annotations and links that every Alertmanager accepts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exporter.hidden_text import escape_hidden

__all__ = ["bounded", "bounded_annotations", "is_link", "is_name", "valid_text"]

_MAX_ANNOTATION = 4096
_MAX_LINK = 8192

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
# A tab and a line feed are ordinary in a text that people read.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LINK = re.compile(r"https?://[A-Za-z0-9._~:\[\]-]+(?:[/?#](?:[!$&-;=?-Z_a-z~#\[\]]|%[0-9A-Fa-f]{2})*)?")


def is_name(name: str, *, utf8: bool) -> bool:
    """Return whether `name` may name a label; `utf8`: the receiver accepts any valid UTF-8."""
    return _NAME.fullmatch(name) is not None or (utf8 and bool(name) and not _SURROGATE.search(name))


def is_link(url: str) -> bool:
    """Return whether Alertmanager accepts `url` as a ``generatorURL``: absolute, http or https, at most 8 KiB."""
    return len(url) <= _MAX_LINK and _LINK.fullmatch(url) is not None


def valid_text(text: str) -> bool:
    """Return whether `text` can be encoded as UTF-8."""
    return _SURROGATE.search(text) is None


def bounded(text: str, limit: int) -> str:
    """Return `text` as valid UTF-8 of at most `limit` bytes, cut between characters with an ellipsis."""
    text = _SURROGATE.sub("\ufffd", text)
    # Counting bytes costs an encoding; almost no text is long enough to need it.
    if len(text) * 4 <= limit:
        return text
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - 3].decode(errors="ignore") + "\u2026"


def bounded_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that can be sent: at most 4 KiB each, valid UTF-8, no control characters.

    Hidden characters become escapes. Empty texts are left out, and names outside ``[a-zA-Z_][a-zA-Z0-9_]*``.
    """
    clean = (
        (name, bounded(escape_hidden(_CONTROL.sub("\ufffd", text)), _MAX_ANNOTATION))
        for name, text in annotations.items()
    )
    return {name: text for name, text in clean if text and is_name(name, utf8=False)}
