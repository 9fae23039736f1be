"""Learned state as a file: written beside a daemon, checked before anything of it is taken over."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.main import main
from exporter.store import Store, StoreError
from exporter.store.archive import export_state, import_state
from tests.store_values import open_store

MEAN = np.arange(12, dtype=np.float32).reshape(3, 4)
KEYS = [(0, b'{"a":"b"}'), (2, b'{"a":"c"}')]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "state") as store:
        store.learned_arrays.save("cpu", "v1", 60.0, {"mean": MEAN}, KEYS)
        store.learned_arrays.save("errors", "v2", 120.0, {"mean": 2 * MEAN}, KEYS[:1])
        yield store


def test_what_a_daemon_has_learned_goes_on_elsewhere(running: Store, tmp_path: Path) -> None:
    file = tmp_path / "archive"
    written = export_state(tmp_path / "state", file)
    assert [(each.name, each.series, each.at, each.identity) for each in written] == [
        ("cpu", 2, 60.0, "v1"),
        ("errors", 1, 120.0, "v2"),
    ]
    assert file.stat().st_mode & 0o777 == 0o600
    with open_store(tmp_path / "new") as store:
        assert [each.taken for each in import_state(file, store.learned_arrays)] == [True, True]
        learned = store.learned_arrays.load("cpu", "v1")
        assert learned is not None
        assert (learned.at, learned.series, learned.damaged) == (60.0, KEYS, ())
        np.testing.assert_array_equal(learned.parts["mean"], MEAN, strict=True)
    # The daemon goes on.
    running.learned_arrays.save("cpu", "v1", 180.0, {"mean": MEAN})


def test_one_query_of_many_and_what_is_newer_stays(running: Store, tmp_path: Path) -> None:
    file = tmp_path / "archive"
    export_state(tmp_path / "state", file, ["cpu"])
    running.learned_arrays.save("cpu", "v1", 240.0, {"mean": 3 * MEAN})
    (only,) = import_state(file, running.learned_arrays)
    assert (only.name, only.taken) == ("cpu", False)
    learned = running.learned_arrays.load("cpu", "v1")
    assert learned is not None
    assert learned.at == 240.0
    # Of another configuration: it takes the place.
    running.learned_arrays.save("cpu", "v9", 300.0, {"mean": MEAN})
    assert import_state(file, running.learned_arrays)[0].taken
    assert running.learned_arrays.load("cpu", "v1") is not None


def change(file: Path, statement: str) -> None:
    con = sqlite3.connect(file)
    con.execute(statement)
    con.commit()
    con.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE schema_version SET version = 2", "is of version 2; this program reads and writes version 1"),
        ("PRAGMA application_id = 1", "is not an archive of `state export`"),
        ("UPDATE pieces SET data = zeroblob(length(data)) WHERE query = 'errors'", "the state of errors is damaged"),
        ("UPDATE series SET name = x'00'", "the state of cpu is damaged"),
        ("UPDATE learned SET at = 1e12", "the state of cpu is damaged"),
    ],
)
def test_what_cannot_be_trusted_is_refused_as_a_whole(
    statement: str, message: str, running: Store, tmp_path: Path
) -> None:
    file = tmp_path / "archive"
    export_state(tmp_path / "state", file)
    change(file, statement)
    with open_store(tmp_path / "new") as store:
        with pytest.raises(StoreError, match=message):
            import_state(file, store.learned_arrays)
        assert store.learned_arrays.queries() == []


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(4000)])
def test_another_file_is_no_archive(content: bytes, running: Store, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(StoreError, match="is not an archive"):
        import_state(tmp_path / "archive", running.learned_arrays)


def test_only_a_file_is_replaced_and_never_the_state_itself(running: Store, tmp_path: Path) -> None:
    fifo, state = tmp_path / "fifo", tmp_path / "state"
    os.mkfifo(fifo)
    for target in (fifo, tmp_path, state / "learned.db"):
        with pytest.raises(StoreError, match="is not a file that an archive may replace"):
            export_state(state, target)
    assert fifo.is_fifo()


def test_a_full_disk_leaves_the_archive_that_was_there(running: Store, tmp_path: Path) -> None:
    file = tmp_path / "out" / "archive"
    file.parent.mkdir()
    file.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(StoreError, match="cannot export to"):
            export_state(tmp_path / "state", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [each.name for each in file.parent.iterdir()] == ["archive"]
    assert file.read_bytes() == b"old"


def test_the_command(running: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, state = str(tmp_path / "archive"), f"--storage.path={tmp_path / 'state'}"
    assert main(["state", "export", state, file]) == 0
    assert capsys.readouterr().out == (
        "cpu: 2 series, until 1970-01-01T00:01:00Z\nerrors: 1 series, until 1970-01-01T00:02:00Z\n"
    )
    assert main(["state", "import", state, file]) == 1
    assert "is in use by process" in capsys.readouterr().err
    new = f"--storage.path={tmp_path / 'new'}"
    assert main(["state", "import", new, "--query=cpu", file]) == 0
    assert main(["state", "import", new, file]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("what is here is as new and stays")
    assert lines[2] == "errors: 1 series, until 1970-01-01T00:02:00Z"
    assert main(["state", "export", state, "--query=nope", file]) == 1
    assert main(["state", "import", new, "--query=nope", file]) == 1
    assert capsys.readouterr().err.count("nothing is learned of nope") == 2
    assert main(["state", "export", f"--storage.path={tmp_path / 'none'}", file]) == 1
    assert "has no learned state" in capsys.readouterr().err
