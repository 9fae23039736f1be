"""How commands end: exit codes, and problems on standard error, one a line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from exporter.errors import ConfigError, ExporterError, UsageError
from exporter.hidden_text import escape_control

__all__ = ["BAD", "GOOD", "INTERRUPTED", "USAGE", "complain", "exit_code"]

GOOD, BAD, USAGE = 0, 1, 2
INTERRUPTED = 130


def complain(lines: Iterable[str], code: int) -> int:
    """Write problems to standard error; return the code.

    Names and messages of files and servers may hold control characters: these must not reach the terminal.
    """
    if sys.stderr is not None:
        sys.stderr.write("".join(f"{escape_control(line)}\n" for line in lines))
    return code


def exit_code(work: Callable[[], int], *, prefix: str = "", failed: int = BAD) -> int:
    """Return the exit code of `work`; what users, files or servers did wrong is written down.

    Parameters
    ----------
    prefix : str
        What a line about neither the configuration nor an interruption begins with.
    failed : int
        The code where neither a file nor a flag is wrong.
    """
    try:
        return work()
    except ConfigError as error:
        return complain(error.lines(), USAGE)
    except ExporterError as error:
        code = USAGE if isinstance(error, UsageError) else failed
        return complain([f"{prefix}{line}" for line in str(error).splitlines()], code)
    except MemoryError:
        return complain([f"{prefix}there is not enough memory for it"], failed)
    except KeyboardInterrupt:
        return complain(["interrupted"], INTERRUPTED)
