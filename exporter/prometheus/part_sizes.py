"""How much history a server answers at once: every product has limits of its own, and words of its own for them.

So no message is read. A server that refuses a long range and answers a shorter one has a limit, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable

from exporter.errors import PrometheusError, Reason

__all__ = ["PartSizes", "is_of_the_part"]

_HALVES = 6
"""How often a part is halved for errors that need not come from its length: to 1/64 of the first."""
_TOO_MANY_REQUESTS = 429
_REFUSALS = frozenset({400, 413, 414, 416, 422, 500, 507})
"""Statuses of limits, by servers and by gateways that answer in text."""
_OF_THE_PART = frozenset({Reason.BAD_DATA, Reason.EXECUTION, Reason.TOO_LARGE})
_BY_CHANCE = frozenset({Reason.CONNECTION, Reason.UNAVAILABLE})


class PartSizes:
    """The sizes of the parts in which the history of one query is read, by step; remembered while the query lives.

    Parameters
    ----------
    shortened : callable, optional
        Called where parts become shorter: with their new length in seconds, and why.
    """

    def __init__(self, shortened: Callable[[float, PrometheusError], None] = lambda *_: None) -> None:
        self._shortened = shortened
        self._points: dict[float, int] = {}
        self._answered_once: dict[float, int] = {}
        self._proven: dict[float, int] = {}
        self._first: dict[float, int] = {}
        self._failed: set[float] = set()

    def points(self, step: float, most: int) -> int:
        """Return how many points to ask for, at most `most`."""
        return min(most, self._points.get(step, most))

    def answered(self, step: float) -> None:
        """Note that a part was answered."""
        self._failed.discard(step)
        points = self._points.get(step)
        if points is None:
            return
        # Near an instant that cannot be read, every size is answered once and then refused.
        if self._answered_once.get(step) == points:
            self._proven[step] = points
        self._answered_once[step] = points

    def refused(self, step: float, points: int, error: PrometheusError) -> bool:
        """Note that a part of so many points was not answered; return whether a shorter one may be asked for at once.

        Where it may not, the error is to be raised; the next attempt asks for less if the length may be the reason.
        """
        if _by_length(error):
            if points > 1:
                self._halve(step, points, error)
            else:
                # It was not the length.
                self._points.pop(step, None)
                self._points |= {step: self._proven[step]} if step in self._proven else {}
            return points > 1
        if error.status == _TOO_MANY_REQUESTS or error.reason is Reason.RATE_LIMITED:
            self._halve_gently(step, points, error)
        elif error.reason in _BY_CHANCE or error.status is not None:
            # Once is an accident; a proxy that cuts long answers, or forbids them, does so each time.
            if step in self._failed:
                self._halve_gently(step, points, error)
            self._failed.add(step)
        return False

    def _halve_gently(self, step: float, points: int, error: PrometheusError) -> None:
        """Halve, but not to the last point: a server that is busy for long must not be asked for each of them."""
        if points > max(1, self._first.setdefault(step, points) >> _HALVES):
            self._halve(step, points, error)

    def _halve(self, step: float, points: int, error: PrometheusError) -> None:
        self._first.setdefault(step, points)
        self._points[step] = max(1, points // 2)
        self._shortened(self._points[step] * step, error)


def is_of_the_part(error: PrometheusError) -> bool:
    """Return whether an error may come from single instants: such as two series with equal labels an hour ago."""
    return error.reason in _OF_THE_PART


def _by_length(error: PrometheusError) -> bool:
    if error.status == _TOO_MANY_REQUESTS:
        return False
    return is_of_the_part(error) or error.reason is Reason.TIMEOUT or error.status in _REFUSALS
