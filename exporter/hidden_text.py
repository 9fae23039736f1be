"""Characters that are not seen and change how the text beside them is read, such as U+202E, which turns it round.

A label value with one could make a page, a log line or a notification say something else than it does.
"""

from __future__ import annotations

import re

__all__ = ["escape_control", "escape_hidden", "escape_hidden_json"]

_HIDDEN = re.compile(
    "[\x80-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control characters beyond ASCII, direction marks, separators of lines and paragraphs, signs of no width, tags; not
the joiners, which some scripts and symbols need."""
_CONTROL = re.compile("[\x00-\x1f\x7f]")
# All of them are in these blocks, so that most texts are not decoded.
_HIDDEN_BYTES = re.compile(rb"[\xc2\xd8\xe2\xef\xf3]")


def escape_hidden(text: str) -> str:
    r"""Return a text with such characters as escapes.

    >>> escape_hidden("a\u202eb")
    'a\\u202eb'
    """
    # No ASCII text has any.
    return text if text.isascii() else _HIDDEN.sub(_escape, text)


def escape_control(text: str) -> str:
    r"""Return a line of text with hidden characters and all control characters as escapes, for terminals and files.

    >>> escape_control("a\u202eb\x1b[31m\nc")
    'a\\u202eb\\x1b[31m\\nc'
    """
    return text if text.isascii() and text.isprintable() else _CONTROL.sub(_escape, escape_hidden(text))


def escape_hidden_json(body: bytes) -> bytes:
    r"""Return JSON in UTF-8 with such characters as escapes of JSON: it means the same.

    >>> escape_hidden_json('"a\u202eb"'.encode())
    b'"a\\u202eb"'
    """
    if _HIDDEN_BYTES.search(body) is None:
        return body
    return _HIDDEN.sub(_escape_json, body.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _escape_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2], 'big'):04x}" for at in range(0, len(units), 2))
