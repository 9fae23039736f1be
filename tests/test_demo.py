"""The demo ends its servers whoever asks it to end, and however it was started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """\
import signal, sys, time
from demo import __main__ as demo

def run(running, begin, **_):
    running.callback(print, "servers ended", flush=True)
    print("up", flush=True)
    time.sleep(60)

signal.signal(signal.SIGINT, signal.SIG_IGN)  # As a shell does for what it starts in the background.
demo._run = run
sys.argv[1:] = []
sys.exit(demo.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_and_its_servers_even_in_the_background(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.splitlines() == ["servers ended", "", "Stopped everything."]
