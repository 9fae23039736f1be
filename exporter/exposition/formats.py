"""Content negotiation of ``/metrics``: text format and encoding.

All formats have the same rows of scores; they differ in the Content-Type, in the self-metrics, and in the ``# EOF`` of
OpenMetrics. The choice is that of prometheus-client, but q-values are obeyed and no unsupported version is claimed.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["ALLOW_UTF8", "Format", "gzip_accepted", "negotiate"]

ALLOW_UTF8 = "escaping=allow-utf-8"
"""The end of a Content-Type of which names are as they are; of all others they are plain."""
_ESCAPINGS = ("allow-utf-8", "underscores", "dots", "values")


class Format(Enum):
    """A text format and its Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    TEXT_1 = "text/plain; version=1.0.0; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(accept: str) -> tuple[Format, str]:
    """Return the format for an ``Accept`` header, the highest q-value, then the first; and its exact Content-Type.

    >>> negotiate("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")[0]
    <Format.OPENMETRICS: 'application/openmetrics-text; version=1.0.0; charset=utf-8'>
    """
    best, best_quality = (Format.TEXT, Format.TEXT.value), 0.0
    for part in accept.split(","):
        kind, parameters = _media_type(part)
        offered = _format(kind, parameters.get("version", ""))
        quality = _quality(parameters)
        if offered is not None and quality > best_quality:
            best, best_quality = (offered, _content_type(offered, parameters)), quality
    return best


def gzip_accepted(accept_encoding: str) -> bool:
    """Whether an ``Accept-Encoding`` header allows gzip."""
    for part in accept_encoding.split(","):
        coding, parameters = _media_type(part)
        if coding in ("gzip", "x-gzip"):
            return _quality(parameters) > 0
    return False


def _media_type(part: str) -> tuple[str, dict[str, str]]:
    kind, *rest = part.split(";")
    pairs = (token.split("=", 1) for token in rest if "=" in token)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, value in pairs}


def _quality(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0


def _format(kind: str, version: str) -> Format | None:
    if kind == "application/openmetrics-text" and version in ("", "1.0.0"):
        return Format.OPENMETRICS
    if kind == "text/plain":
        return Format.TEXT_1 if version == "1.0.0" else Format.TEXT
    if kind in ("*/*", "text/*"):
        return Format.TEXT
    return None


def _content_type(negotiated: Format, parameters: dict[str, str]) -> str:
    # Of plain names every scheme gives the same bytes, so the requested one is named.
    if negotiated is Format.TEXT or "version" not in parameters:
        return negotiated.value
    escaping = parameters.get("escaping", "underscores")
    return f"{negotiated.value}; escaping={escaping if escaping in _ESCAPINGS else 'underscores'}"
