"""No command: run the daemon until a signal ends it."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from exporter.app import App, Options
from exporter.errors import ExporterError
from exporter.log import set_up

__all__ = ["add_flags", "run"]

log = logging.getLogger(__name__)

Drawing = Callable[[], None]

_TICK = 1.0
_LAST_WAY_OUT = 2.0
"""Seconds that threads of libraries have to end by themselves when all is written and sent."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the daemon. They are named as in every Prometheus component."""
    add = parser.add_argument_group("flags of the daemon").add_argument
    add("--config.file", dest="config_file", metavar="FILE", type=Path, default=Path("config.yaml"),
        help="configuration file (default: %(default)s)")  # fmt: skip
    add("--storage.path", dest="storage_path", metavar="DIR", type=Path, default=Path("data/"),
        help="directory of the state (default: %(default)s)")  # fmt: skip
    add("--web.listen-address", dest="listen_address", metavar="ADDRESS", default=":9877",
        help="address of the web server (default: %(default)s)")  # fmt: skip
    add("--web.config.file", dest="web_config_file", metavar="FILE", type=Path,
        help="TLS and users of the web server, in the format of the exporter toolkit")  # fmt: skip
    add("--web.external-url", dest="external_url", metavar="URL",
        help="URL under which people reach this web server")  # fmt: skip
    add("--web.enable-lifecycle", dest="enable_lifecycle", action="store_true",
        help="allow a reload by POST /-/reload")  # fmt: skip
    add("--log.level", dest="log_level", choices=("debug", "info", "warning", "error"), default="info",
        help="(default: %(default)s)")  # fmt: skip
    add("--log.format", dest="log_format", choices=("logfmt", "json"), default="logfmt",
        help="(default: %(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run the daemon; returns the exit code."""
    set_up(args.log_level, args.log_format)
    signals = _Signals()
    options = Options(
        config_file=args.config_file,
        storage_path=args.storage_path,
        listen_address=args.listen_address,
        web_config_file=args.web_config_file,
        external_url=args.external_url,
        enable_lifecycle=args.enable_lifecycle,
    )
    try:
        app = App(options)
        app.start()
    except ExporterError as fault:
        sys.stderr.write(f"anomaly-exporter: {fault}\n")
        return 1
    code = 0
    try:
        _serve(app, signals)
    except ExporterError as fault:
        log.critical("giving up", extra={"error": str(fault)})
        code = 1
    finally:
        app.stop()
    _leave_anyway(code)
    return code


def _serve(app: App, signals: _Signals) -> None:
    """Wait for the end; reload when asked to."""
    reloading: threading.Thread | None = None
    reload_wanted = False
    with _progress_bars(app) as draw:
        while True:
            draw()
            number = signals.wait(_TICK)
            if number in (signal.SIGTERM, signal.SIGINT):
                return
            if number == signal.SIGHUP:
                reload_wanted = True
            # In a thread, so that the end can come meanwhile; a thousand signals are one reload.
            if reload_wanted and (reloading is None or not reloading.is_alive()):
                reload_wanted = False
                reloading = threading.Thread(target=_reload, args=(app,), name="reload", daemon=True)
                reloading.start()
            app.watch()


def _reload(app: App) -> None:
    with contextlib.suppress(ExporterError):  # Logged, counted, and without effect.
        app.reload()


class _Signals:
    """The signals that came, in order; a second request to end ends at once."""

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ending = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        # No logging here: the interrupted code may be holding its lock.
        if number != signal.SIGHUP:
            if self._ending:
                os._exit(1)
            self._ending = True
        self._came.put(number)

    def wait(self, seconds: float) -> int | None:
        """Return the next signal, or None if none comes in time."""
        try:
            return self._came.get(timeout=seconds)
        except queue.Empty:
            return None


@contextlib.contextmanager
def _progress_bars(app: App) -> Iterator[Drawing]:
    """Show how far history is read, where somebody is watching."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (TextColumn("reading history"), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    tasks: dict[str, TaskID] = {}

    def draw() -> None:
        if bars.finished and tasks:
            bars.stop()
            return
        for name, share in app.progress().items():
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=1.0)
            bars.update(tasks[name], completed=share)

    with bars:
        yield draw


def _leave_anyway(code: int) -> None:
    """End the process even if a thread of a library does not: everything that counts is written and sent."""
    last = threading.Timer(_LAST_WAY_OUT, os._exit, args=(code,))
    last.daemon = True
    last.start()
