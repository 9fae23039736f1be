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
        self._problems: list[tuple[int, str]] = []
        self._advice = ""

    def add(self, place: str, message: str, *, line: int = 0, advice: str = "") -> None:
        """Note a problem; they are shown by `line`. Of many with the same `advice` it is given once, at the end."""
        self._advice = advice or self._advice
        self._problems.append((line, f"{place}: {message}" if place else message))

    def check(self) -> None:
        """Raise `InputError` with the problems if there are any."""
        if not self._problems:
            return
        shown = [problem for _, problem in sorted(self._problems, key=lambda problem: problem[0])[:_SHOWN]]
        left = len(self._problems) - len(shown)
        more = [f"and {left} more problems"] if left else []
        raise InputError(self.source, [*shown, *more, *([self._advice] if self._advice else [])])

    def stop(self, message: str) -> InputError:
        """Return the error that says that nothing of the input can be read."""
        return InputError(self.source, [message])
