"""What is wrong with recorded samples: every problem with its place, up to a number that somebody can read."""

from __future__ import annotations

from exporter.errors import ExporterError

__all__ = ["Faults", "InputError"]

_SHOWN = 20


class InputError(ExporterError):
    """Samples that cannot be used.

    Parameters
    ----------
    source : str
        The file as the user named it.
    problems : sequence of str
        Each begins with its place where it has one.
    """

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class Faults:
    """Collects the problems of one input.

    Parameters
    ----------
    source : str
        The file as the user named it.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0
        self._problems: list[str] = []
        self._advice = ""

    def add(self, place: str, message: str, *, advice: str = "") -> None:
        """Note a problem; of many with the same `advice` it is given once, at the end."""
        self.count += 1
        self._advice = advice or self._advice
        if len(self._problems) < _SHOWN:
            self._problems.append(f"{place}: {message}" if place else message)

    def check(self) -> None:
        """Raise `InputError` with all problems if there are any."""
        if not self.count:
            return
        more = [f"and {self.count - _SHOWN} more problems"] if self.count > _SHOWN else []
        raise InputError(self.source, [*self._problems, *more, *([self._advice] if self._advice else [])])

    def stop(self, message: str) -> InputError:
        """Return the error that says that nothing of the input can be read."""
        return InputError(self.source, [message])
