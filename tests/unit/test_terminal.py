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


def test_who_starts_it_without_a_file_is_shown_how_to_get_one(tmp_path) -> None:
    command = [sys.executable, "-m", "exporter", f"--config.file={tmp_path / 'config.yaml'}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    suggest = "anomaly-exporter suggest --prometheus.url=URL"
    assert ended.stderr.splitlines() == [
        f"{tmp_path}/config.yaml:1:1: the file cannot be read: No such file or directory",
        f"to have one written for what Prometheus has: {suggest} --output {tmp_path}/config.yaml",
    ]


def test_signals_are_handled_before_what_takes_long_is_imported() -> None:
    program = "import sys, exporter.cli.run; print({'numpy', 'requests', 'exporter.config'} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.strip() == "set()"
