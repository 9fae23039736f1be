"""No command: run the daemon until a signal ends it."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import queue
import re
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from exporter.cli.address_space import save_address_space
from exporter.cli.progress import history_progress
from exporter.cli.workers_flag import add_workers
from exporter.errors import ConfigError, ExporterError, UsageError
from exporter.log import set_up

if TYPE_CHECKING:
    from exporter.app import App

__all__ = ["add_flags", "run"]

log = logging.getLogger(__name__)

BAD, USAGE = 1, 2

_FRAME, _TICK = 1.0, 5.0
"""Seconds between two calls of `App.watch`: while bars are drawn, a reload waits or files are watched; otherwise."""
_NO_FILE = "to have one written for what Prometheus has: anomaly-exporter suggest --prometheus.url=URL --output {}"
_GRACE = 2.0
"""Seconds that threads of libraries have to end when everything is written and sent."""
_LONGEST_STOP = 9.5
"""Seconds after which the process is ended by force, unless Alertmanagers may take longer. The disk is consistent."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the daemon. They are named as in every Prometheus component."""
    add = parser.add_argument_group("flags of the daemon").add_argument
    add("--config.file", dest="config_file", metavar="FILE", type=Path, default=Path("config.yaml"),
        help="configuration file (default: %(default)s)")  # fmt: skip
    add("--config.auto-reload", dest="auto_reload", action="store_true",
        help="reload the configuration file when its content changes")  # fmt: skip
    add("--storage.path", dest="storage_path", metavar="DIR", type=Path, default=Path("data/"),
        help="directory of the state (default: %(default)s)")  # fmt: skip
    add("--web.listen-address", dest="listen_address", metavar="ADDRESS", default=":9877",
        help="address of the web server (default: %(default)s)")  # fmt: skip
    add("--web.config.file", dest="web_config_file", metavar="FILE", type=Path,
        help="TLS and users of the web server, in the format of the exporter toolkit")  # fmt: skip
    add("--web.external-url", dest="external_url", metavar="URL",
        help="URL under which users reach this web server")  # fmt: skip
    add("--web.route-prefix", dest="route_prefix", metavar="PATH",
        help="path prefix of all pages and endpoints (default: the path of --web.external-url)")  # fmt: skip
    add("--web.enable-lifecycle", dest="enable_lifecycle", action="store_true",
        help="allow a reload by POST /-/reload")  # fmt: skip
    add("--web.enable-actions", dest="enable_actions", action="store_true",
        help="allow anybody to acknowledge anomalies and give feedback, as on a loopback address")  # fmt: skip
    add("--web.enable-explore", dest="enable_explore", action="store_true",
        help="serve a page on which any expression can be tried: who can open it can query Prometheus")  # fmt: skip
    add("--shard.index", dest="shard_index", metavar="INDEX", type=_shard_index, default=0,
        help="which shard this process is, from 0; auto: the number at the end of the name of the host, "
        "or of the pod if POD_NAME is set (default: %(default)s)")  # fmt: skip
    add("--shard.count", dest="shard_count", metavar="COUNT", type=int, default=1,
        help="number of shards that queries and series are split into (default: %(default)s)")  # fmt: skip
    add_workers(add, "history is learned in this process")
    add("--log.level", dest="log_level", choices=("debug", "info", "warning", "error"), default="info",
        help="(default: %(default)s)")  # fmt: skip
    add("--log.format", dest="log_format", choices=("logfmt", "json"), default="logfmt",
        help="(default: %(default)s)")  # fmt: skip


def _shard_index(text: str) -> int:
    if text != "auto":
        if not re.fullmatch(r"-?[0-9]+", text):
            raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto")
        return int(text)
    name = os.environ.get("POD_NAME") or socket.gethostname()
    number = re.search(r"-(\d+)$", name.partition(".")[0])
    if number is None:
        raise argparse.ArgumentTypeError(f"auto: {name!r} does not end in a number, as the pods of a StatefulSet do")
    return int(number[1])


def run(args: argparse.Namespace) -> int:
    """Run the daemon; returns the exit code."""
    _open_standard_streams()
    if not 0 <= args.shard_index < args.shard_count:
        sys.stderr.write("anomaly-exporter: --shard.index must be from 0 to one less than --shard.count\n")
        return USAGE
    save_address_space()
    set_up(args.log_level, args.log_format)
    signals = _Signals()
    # Imported here because it takes a second or two, and signals are handled meanwhile: an early SIGHUP must not end
    # the process.
    from exporter.app import Options, build

    options = Options(
        config_file=args.config_file,
        storage_path=args.storage_path,
        listen_address=args.listen_address,
        web_config_file=args.web_config_file,
        external_url=args.external_url,
        route_prefix=args.route_prefix,
        enable_lifecycle=args.enable_lifecycle,
        enable_actions=args.enable_actions,
        enable_explore=args.enable_explore,
        auto_reload=args.auto_reload,
        shard=(args.shard_index, args.shard_count),
        workers=args.workers or "1",
    )
    try:
        app = build(options)
        app.start()
    except ExporterError as fault:
        code = USAGE if isinstance(fault, UsageError) else BAD
        # A position in a file is at the beginning of the line, where editors expect it.
        message = str(fault) if isinstance(fault, ConfigError) else f"anomaly-exporter: {fault}"
        if isinstance(fault, ConfigError) and not args.config_file.exists():
            message += f"\n{_NO_FILE.format(args.config_file)}"
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()
        _exit_after(code, _GRACE)
        return code
    code = 0
    try:
        _serve(app, signals, auto_reload=args.auto_reload)
    except ExporterError as fault:
        log.critical("giving up", extra={"error": str(fault)})
        code = 1
    except Exception:
        log.critical("giving up", exc_info=True)
        code = 1
    _exit_after(1, max(_LONGEST_STOP, app.config.alerting.drain_timeout + _LONGEST_STOP / 2))
    app.stop()
    _exit_after(code, _GRACE)
    return code


def _open_standard_streams() -> None:
    """Open descriptors 0 to 2: a database that gets one of them would be written to as a log."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest one that is free.
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for as long as the process lives.


def _serve(app: App, signals: _Signals, *, auto_reload: bool) -> None:
    """Wait for the end; reload on SIGHUP, and where it is wanted when the file changes."""
    tick = _FRAME if auto_reload or sys.stderr.isatty() else _TICK
    reloading: threading.Thread | None = None
    reload_requested = False
    with history_progress(app.progress) as draw:
        while True:
            draw()
            number = signals.wait(_FRAME if reload_requested else tick)
            if number in (signal.SIGTERM, signal.SIGINT):
                return
            if number == signal.SIGHUP or (auto_reload and app.config_changed()):
                reload_requested = True
            # In a thread, so that a signal can end the process meanwhile; a thousand signals are a single reload.
            if reload_requested and (reloading is None or not reloading.is_alive()):
                reload_requested = False
                reloading = threading.Thread(target=_reload, args=(app,), name="reload", daemon=True)
                reloading.start()
            app.watch()


def _reload(app: App) -> None:
    with contextlib.suppress(ExporterError):  # Logged, counted, and without effect.
        app.reload()


class _Signals:
    """Queue of received signals. A second request to end ends the process at once."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ending = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        # No logging here: the interrupted code may be holding its lock.
        if number != signal.SIGHUP:
            if self._ending:
                os._exit(1)
            self._ending = True
        self._queue.put(number)

    def wait(self, seconds: float) -> int | None:
        """Return the next signal, or None if none comes in time."""
        try:
            return self._queue.get(timeout=seconds)
        except queue.Empty:
            return None


def _exit_after(code: int, seconds: float) -> None:
    """End the process in so many seconds, even if a thread does not end: the state is on disk."""
    last = threading.Timer(seconds, os._exit, args=(code,))
    last.daemon = True
    with contextlib.suppress(RuntimeError):  # No more threads; a second signal ends it at once.
        last.start()
