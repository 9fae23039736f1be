from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.yaml_reader.document import MAX_BYTES, Document, parse, read_text

FILE = Path("config.yaml")


def read(text: str) -> Document:
    return parse(text, FILE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: text", "text", id="text"),
        pytest.param("a: 5", 5, id="integer"),
        pytest.param("a: -5", -5, id="negative"),
        pytest.param("a: 1_000", 1000, id="underscore"),
        pytest.param("a: 0x1f", 31, id="hexadecimal"),
        pytest.param("a: 0", 0, id="zero"),
        pytest.param("a: 0.25", 0.25, id="float"),
        pytest.param("a: 1.5e+3", 1500.0, id="exponent"),
        pytest.param("a: .inf", float("inf"), id="infinite"),
        pytest.param("a: yes", True, id="boolean"),
        pytest.param("a: ~", None, id="null"),
        pytest.param('a: "010"', "010", id="quoted octal"),
        pytest.param("a: !!str 010", "010", id="tagged octal"),
        pytest.param("a: 2026-11-27", "2026-11-27", id="a date stays text"),
        pytest.param("a: 2026-11-27T00:00:00Z", "2026-11-27T00:00:00Z", id="an instant stays text"),
        pytest.param("a: 1h30m", "1h30m", id="duration"),
        pytest.param('a: "<<"', "<<", id="quoted merge key"),
        pytest.param("a: [1, [x]]", [1, ["x"]], id="list"),
    ],
)
def test_a_value_is_read_as_it_is_meant(text: str, value: object) -> None:
    document = read(text)
    assert document.data == {"a": value}
    assert not document.problems


def test_every_key_and_value_has_its_place() -> None:
    document = read("a: 1\nb:\n  - c: x\n    d: y\n")
    assert document.values["a",][:2] == (1, 4)
    assert document.keys["b",][:2] == (2, 1)
    assert document.keys["b", 0, "d"][:2] == (4, 5)
    assert document.values["b", 0, "d"][:2] == (4, 8)


def test_the_place_of_what_is_not_there_is_that_of_the_nearest_thing_around_it() -> None:
    document = read("a:\n  b:\n    c: 1\n")
    assert document.position(("a", "b", "missing"))[:2] == (2, 3)
    assert document.position(("nothing", "here"))[:2] == (1, 1)


def test_merged_keys_give_way_to_own_keys_and_to_earlier_ones() -> None:
    document = read("x: &x {a: 1, b: 1, c: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*y, *x]\n  c: 3\n")
    assert document.data["z"] == {"a": 1, "b": 2, "c": 3}
    assert document.keys["z", "b"][:2] == (2, 8)


def test_columns_count_characters_not_bytes() -> None:
    document = read("größe: {ä: 1, ö: 2}\n")
    assert document.keys["größe", "ö"][:2] == (1, 15)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes("\ufeffa: 1\n".encode())
    assert parse(read_text(file), file).data == {"a": 1}


def test_a_file_over_the_limit_is_refused_without_being_parsed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_text(file)


def test_more_values_than_any_configuration_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than 100000 values"):
        read("a: [" + "1," * 100_001 + "]")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("gone.yaml", "No such file or directory", id="missing"),
        pytest.param(".", "Is a directory", id="directory"),
        pytest.param("nul\0.yaml", "null byte", id="impossible name"),
    ],
)
def test_a_file_that_cannot_be_opened_is_a_problem_with_the_reason(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_text(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_problem_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: 1")
    file.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        read_text(file)
