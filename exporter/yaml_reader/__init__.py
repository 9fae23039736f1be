"""YAML text to plain data, with the position of every key and value. For all files that people write."""

from exporter.yaml_reader.document import Document, Loc, format_path, parse, problem_at, read_text
from exporter.yaml_reader.nodes import Position

__all__ = ["Document", "Loc", "Position", "format_path", "parse", "problem_at", "read_text"]
