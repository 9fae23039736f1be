"""The OpenAPI document of ``/api/v1``, generated from the declarations of the endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from exporter.web.api.endpoint import Endpoint, is_labels, schema_of_custom
from exporter.web.api.envelope import ErrorType

__all__ = ["openapi"]

_REF = "#/components/schemas/{name}"
_ERRORS = {
    ErrorType.BAD_DATA: "A parameter or the body is wrong.",
    ErrorType.FORBIDDEN: "Nobody who changes something may be a stranger; credentials are not configured or not given.",
    ErrorType.NOT_FOUND: "There is no such thing.",
    ErrorType.CONFLICT: "It is not in a state in which this can be done.",
    ErrorType.UNAVAILABLE: "The store cannot be used now.",
    ErrorType.INTERNAL: "A mistake of the exporter; the log says more.",
}


def openapi(endpoints: Iterable[Endpoint[Any, Any]], *, server: str, version: str) -> dict[str, Any]:
    """Describe endpoints.

    Parameters
    ----------
    endpoints : iterable of Endpoint
    server : str
        URL or path of the API.
    version : str
        Of the program.
    """
    endpoints = list(endpoints)
    types = [
        kind for endpoint in endpoints for kind in (endpoint.data, *([endpoint.body] if endpoint.takes_body else []))
    ]
    schemas, components = msgspec.json.schema_components(types, schema_hook=schema_of_custom, ref_template=_REF)
    remaining = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        data = next(remaining)
        body = next(remaining) if endpoint.takes_body else None
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, data, body)
    schemes = {"basic": {"type": "http", "scheme": "basic"}, "certificate": {"type": "mutualTLS"}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Anomaly Exporter", "version": version, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": {**components, "Error": _error()}, "securitySchemes": schemes},
    }
    tidy = _tidy(document)
    assert isinstance(tidy, dict)  # noqa: S101 - for the type checker.
    return tidy


def _operation(endpoint: Endpoint[Any, Any], data: object, body: object) -> dict[str, Any]:
    envelope = {
        "type": "object",
        "properties": {"status": {"const": "success"}, "data": data},
        "required": ["status", "data"],
    }
    operation: dict[str, Any] = {
        "operationId": _name(endpoint),
        "summary": endpoint.summary,
        "parameters": [_parameter(endpoint, parameter) for parameter in endpoint.fields],
        "responses": {"200": {"description": "Done.", "content": _json(envelope)}, **_error_responses(endpoint)},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    # Reading needs credentials only where they are configured.
    logins: list[dict[str, list[str]]] = [{"basic": []}, {"certificate": []}]
    if not endpoint.open:
        operation["security"] = logins if endpoint.changes else [{}, *logins]
    return operation


def _name(endpoint: Endpoint[Any, Any]) -> str:
    parts = [part.strip("{}").replace(".", "_") for part in re.split("[/-]", endpoint.path) if part]
    return "_".join((endpoint.method.lower(), *parts))


def _parameter(endpoint: Endpoint[Any, Any], parameter: msgspec.structs.FieldInfo) -> dict[str, Any]:
    schema = msgspec.json.schema(parameter.type, schema_hook=schema_of_custom)
    exploded = {"style": "form", "explode": True} if is_labels(parameter.type) else {}
    if parameter.default is not msgspec.NODEFAULT and parameter.default not in (None, ()):
        schema["default"] = parameter.default
    in_path = parameter.encode_name in endpoint.in_path
    return {
        "name": parameter.encode_name,
        "in": "path" if in_path else "query",
        "required": parameter.required,
        "description": _description(schema),
        "schema": schema,
        **exploded,
    }


def _description(schema: dict[str, Any]) -> str:
    """Take the description out of a schema: that of an optional type stands one level down."""
    for part in (schema, *schema.get("anyOf", ())):
        if "description" in part:
            return str(part.pop("description"))
    return ""


def _error_responses(endpoint: Endpoint[Any, Any]) -> dict[str, Any]:
    kinds = {ErrorType.BAD_DATA, ErrorType.UNAVAILABLE, ErrorType.INTERNAL, *endpoint.errors}
    if endpoint.changes:
        kinds.add(ErrorType.FORBIDDEN)
    content = _json({"$ref": _REF.format(name="Error")})
    responses = {str(kind.status): {"description": _ERRORS[kind], "content": content} for kind in sorted(kinds)}
    if endpoint.takes_body:
        responses["415"] = {"description": "The body is not JSON.", "content": content}
    return dict(sorted(responses.items()))


def _error() -> dict[str, Any]:
    texts = {"errorType": {"enum": [str(kind) for kind in ErrorType]}, "error": {"type": "string"}}
    return {
        "type": "object",
        "description": "Why a request was not done.",
        "properties": {"status": {"const": "error"}, **texts},
        "required": ["status", "errorType", "error"],
    }


def _json(schema: object) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _tidy(part: object) -> object:
    """Keep the first paragraph of docstrings, without the line breaks of the source; and lists instead of tuples."""
    if isinstance(part, Mapping):
        return {
            name: " ".join(value.split("\n\n")[0].split())
            if name == "description" and isinstance(value, str)
            else _tidy(value)
            for name, value in part.items()
        }
    return [_tidy(item) for item in part] if isinstance(part, list | tuple) else part
