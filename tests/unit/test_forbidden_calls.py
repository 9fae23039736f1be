"""The tree has no call that turns stored or received bytes into running code, or swaps what all threads share."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "exporter"
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
YAML = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}


ALLOWED = {"engine/external.py": ["importlib.import_module"]}
"""The configuration names detectors outside the tree by their import path; docs/security.md says so."""


def forbidden(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of each forbidden import or call, whatever name it was imported under."""
    found: list[tuple[int, str]] = []
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = alias.name
                if alias.name.partition(".")[0] in MODULES:
                    found.append((node.lineno, alias.name))
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                names[alias.asname or alias.name] = f"{module}.{alias.name}"
            if module.partition(".")[0] in MODULES:
                found.append((node.lineno, module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _called(node.func, names)
            if name and _is_forbidden(name, node):
                found.append((node.lineno, name))
    return sorted(found)


def _called(function: ast.expr, names: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name):
        return ""
    return ".".join([names.get(function.id, function.id), *reversed(parts)])


def _is_forbidden(name: str, call: ast.Call) -> bool:
    module, _, last = name.rpartition(".")
    if module in {"", "builtins"}:
        return last in BUILT_IN
    if module == "yaml" and last in YAML:
        return True
    if name in {"warnings.catch_warnings", "warnings.resetwarnings"}:
        # The filters are those of the whole process: another thread would go on with half of them.
        return True
    if name in {"os.system", "os.popen"} or (module == "importlib" and last == "import_module"):
        return True
    if module in {"numpy", "numpy.lib.format"} and last in {"load", "read_array"}:
        # Anything but a plain False could be true at run time.
        return any(
            key.arg is None or (key.arg == "allow_pickle" and getattr(key.value, "value", None) is not False)
            for key in call.keywords
        )
    return False


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_module_runs_data_as_code(file: Path) -> None:
    calls = [name for _, name in forbidden(ast.parse(file.read_text("utf-8")))]
    assert calls == ALLOWED.get(file.relative_to(ROOT).as_posix(), [])


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import warnings\nwarnings.catch_warnings()",
        "from pickle import loads",
        "import joblib as j",
        "import dill._dill",
        "def f():\n    import marshal",
        "eval('1')",
        "exec('1')",
        "import builtins\nbuiltins.eval('1')",
        "import builtins as b\nb.exec('1')",
        "from builtins import eval as harmless\nharmless('1')",
        "import yaml\nyaml.load(x, Loader=yaml.Loader)",
        "from yaml import unsafe_load as load\nload(x)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "import numpy as np\nnp.load(f, allow_pickle=flag)",
        "import numpy as np\nnp.load(f, **options)",
        "from numpy.lib import format\nformat.read_array(f, allow_pickle=True)",
        "__import__('os')",
        "import os\nos.system('ls')",
    ],
)
def test_the_check_finds_what_is_forbidden(text: str) -> None:
    assert len(forbidden(ast.parse(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import json\njson.loads('1')",
        "import numpy as np\nnp.load(f, allow_pickle=False)",
        "import numpy as np\nnp.load(f)",
        "import yaml\nyaml.safe_load(x)",
        "import re\nre.compile('x')",
        "model.eval()",
        "self.load(x)",
        "con.executescript('x')",
    ],
)
def test_the_check_lets_pass_what_is_harmless(text: str) -> None:
    assert forbidden(ast.parse(text)) == []
