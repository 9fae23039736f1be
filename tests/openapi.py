"""Whether an answer is what the OpenAPI document says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import requests

__all__ = ["assert_described"]


def assert_described(document: Mapping[str, Any], method: str, path: str, answer: requests.Response) -> None:
    """Find the operation of a request in the document, and check its answer against the schema of its status."""
    path = path.partition("?")[0]
    (operation,) = [
        operations[method.lower()]
        for template, operations in document["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)
    ]
    schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(answer.json())
