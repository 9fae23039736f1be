"""Whether an expression leaves series out by their values, so that an answer without series is no fault."""

from __future__ import annotations

from functools import lru_cache

from exporter.promql.tokens import MalformedError, tokenize

__all__ = ["filters_series"]

_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
_WORDS = frozenset({"and", "unless", "absent", "absent_over_time"})


@lru_cache(4096)  # It is asked in every slot.
def filters_series(expr: str) -> bool:
    """Return whether series may be missing because of their values, or of those of others.

    >>> filters_series("rate(errors[5m]) > 0"), filters_series('up{job!="x"}'), filters_series("a == bool 1")
    (True, False, False)
    """
    try:
        tokens = list(tokenize(expr))
    except MalformedError:
        return True
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.text == "{") - (token.text == "}")
        compares = token.text in _COMPARISONS and not (index + 1 < len(tokens) and tokens[index + 1].text == "bool")
        if not depth and (compares or token.text.lower() in _WORDS):
            return True
    return False
