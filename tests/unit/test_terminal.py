"""What somebody sees who starts the daemon in a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

PROGRAM = """\
import logging
from exporter.cli.progress import history_progress
from exporter.log import set_up

class App:
    def progress(self):
        return {"a_query": 0.5}

set_up("info", "logfmt")
with history_progress(App().progress) as draw:
    draw()
    logging.getLogger("exporter.app").info("a message", extra={"words": "one word after another " * 20})
    draw()
"""


def test_a_log_line_is_not_broken_while_progress_bars_are_shown() -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # The other end is closed.
                break
            if not piece:
                break
            said += piece
        assert process.wait(60) == 0
    os.close(ours)
    text = said.decode()
    assert "a_query" in text
    line = next(line for line in text.splitlines() if "a message" in line)
    assert line.count("one word after another") == 20
