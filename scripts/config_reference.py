"""Write docs/configuration.md from the models (``make reference``).

A field, its default and its description are written in the models only.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from exporter.alerting.budget import AlertBudget
from exporter.config.model import Config
from exporter.config.schema_walk import models_in
from exporter.correlation.canary_settings import CanaryAlertSettings
from exporter.settings import format_duration

__all__ = ["render"]

_HEAD = """# Configuration

<!-- Written by `make reference` from the models. Do not edit by hand. -->

The file is YAML. It is given with `--config.file` and read again on SIGHUP, on `POST /-/reload` (with
`--web.enable-lifecycle`) and when its content changes (with `--config.auto-reload`): the whole new file is used, or,
where it has a problem, the old one stays. `anomaly-exporter check config FILE` says what is wrong with a file, all of
it, with line and column; [config.example.yaml](../config.example.yaml) is a good start.

`anomaly-exporter schema` prints the JSON schema of the file, which is also [config.schema.json](config.schema.json).
An editor with a YAML language server completes and checks a file whose first line is
`# yaml-language-server: $schema=config.schema.json`.

`query_files` includes other files, as `rule_files` of Prometheus does. Each is a mapping with `queries`, `groups` or
both, which are added to those of this file; a problem in one names that file. A pattern that matches nothing is a
warning, so is an empty file; a file without wildcards that does not exist is an error. [Presets](presets.md) are
queries for common exporters.

Brackets mean that a field is optional. Unknown fields are refused. Placeholders:

* `<boolean>`: `true` or `false`
* `<budget>`: text such as `2/week`: a whole number for a `day`, `week` or `month`
* `<detector>`: the name of a detector, such as `zscore`, or a mapping with its `kind` and parameters. The `kind` of one
  outside this package is its import path, `package.module:Class`, or the name of its entry point
* `<duration>`: text such as `5m`, `1h30m` or `250ms`; the units are `y`, `w`, `d`, `h`, `m`, `s` and `ms`
* `<filename>`: a path; a relative one starts at the folder of the configuration file
* `<float>`, `<int>`: a number
* `<labelname>`: letters, digits and `_`, not starting with a digit or `__`
* `<secret>`: text that is never shown. `${NAME}` is replaced by the environment variable `NAME`, which must be
  set; `$${NAME}` stays `${NAME}`. In no other field are variables expanded
* `<size>`: bytes, as a number or as text such as `64MiB`
* `<string>`: text
* `<url>`: an `http://` or `https://` URL without credentials and without a query

YAML 1.1 reads some plain words as something else. What would be read so is refused with advice, never guessed:
`no` and `on` are booleans (quote them where text is meant), `010` is octal, `1:30` is a number in base 60.
Anchors, aliases and merge keys (`<<`) work. A file is at most 1 MiB.
"""

_WIDTH = 100
_PLAIN = {str: "<string>", int: "<int>", float: "<float>", bool: "<boolean>", ByteSize: "<size>"}
_PLAIN |= {SecretStr: "<secret>", Path: "<filename>", AlertBudget: "<budget>"}


def render() -> str:
    """Return the text of docs/configuration.md."""
    parts = [_HEAD]
    for name, model in _sections().items():
        parts.append(_section(name, model))
    return "\n".join(parts)


def _sections() -> dict[str, type[BaseModel]]:
    """Return every section once, in the order of the file, under the name that its placeholder has."""
    sections: dict[str, type[BaseModel]] = {"file": Config}
    waiting: list[type[BaseModel]] = [Config]
    while waiting:
        for name, info in waiting.pop(0).model_fields.items():
            for model in models_in(info.annotation):
                if model not in sections.values():
                    sections[_placeholder(info.alias or name, model)] = model
                    waiting.append(model)
    return sections


def _placeholder(field: str, model: type[BaseModel]) -> str:
    if "kind" in model.model_fields:
        return f"detector: {model.model_fields['kind'].default}"
    if model is CanaryAlertSettings:
        return "canary_alert"
    return {"queries": "query", "alertmanagers": "alertmanager"}.get(field, field)


def _section(name: str, model: type[BaseModel]) -> str:
    title = "## The file" if model is Config else f"## `<{name}>`" if ":" not in name else f"## Detector `{name[10:]}`"
    summary, _, rest = (model.__doc__ or "").replace("``", "`").strip().partition("\n\n")
    blurb = " ".join(summary.split())
    if ":" in name and not rest.lstrip().startswith("Parameters"):
        blurb += "\n\n" + " ".join(rest.split("\n\n")[0].split())
    fields = "\n\n".join("\n".join(_field(field, info, model)) for field, info in model.model_fields.items())
    return f"{title}\n\n{blurb}\n\n```yaml\n{fields}\n```\n"


def _field(name: str, info: FieldInfo, model: type[BaseModel]) -> Iterator[str]:
    key = info.alias or name
    if not info.description:
        raise ValueError(f"{model.__name__}.{name} has no description")
    yield from _comment(info.description)
    kind = _type(info)
    if _is_list(info):
        yield f"{key}:" if info.is_required() else f"[ {key}:"
        item = f"  - {kind}"
        yield item if info.is_required() else f"  {item.strip()} ...{_default(info)} ]"
    elif get_origin(_bare(info.annotation)) is dict:
        yield f"[ {key}:"
        yield f"  {kind} ... ]"
    elif info.is_required() or (key == "kind" and info.default is not None):
        yield f"{key}: {info.default if key == 'kind' else kind}"
    else:
        yield f"[ {key}: {kind}{_default(info)} ]"


def _comment(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _bare(annotation: Any) -> Any:
    """Strip what is about validation and absence from a type."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation


def _is_list(info: FieldInfo) -> bool:
    bare = _bare(info.annotation)
    return get_origin(bare) is tuple and get_args(bare)[-1] is Ellipsis


def _type(info: FieldInfo) -> str:
    bare = _bare(info.annotation)
    if get_origin(bare) is dict:
        label = any("label" in str(part).lower() for part in _validators(get_args(bare)[0]))
        return f"{'<labelname>' if label else '<string>'}: {_name(get_args(bare)[1], info)}"
    if get_origin(bare) is tuple:
        first = get_args(bare)[0]
        return _name(first, info) if _is_list(info) else "[<float>|null, <float>|null]"
    return _name(bare, info)


def _name(annotation: Any, info: FieldInfo) -> str:
    models = list(models_in(annotation))
    if len(models) > 1 or any("kind" in model.model_fields for model in models):
        return "<detector>"
    if models:
        return f"<{next(name for name, model in _sections().items() if model is models[0])}>"
    bare = _bare(annotation)
    if get_origin(bare) is Literal:
        return " | ".join(map(str, get_args(bare)))
    validators = [str(part) for part in (*info.metadata, *_validators(info.annotation), *_validators(annotation))]
    if any("parse_duration" in part for part in validators):
        return "<duration>"
    if any("_http_url" in part for part in validators):
        return "<url>"
    if get_origin(bare) is list:
        return f"[{_name(get_args(bare)[0], info)}, ...]"
    if get_origin(bare) in (Union, types.UnionType):
        return " | ".join(_name(member, info) for member in get_args(bare))
    return _PLAIN[bare]


def _validators(annotation: Any) -> list[Any]:
    """Return what is annotated on a type or on the members of a union."""
    if get_origin(annotation) is Annotated:
        return [*get_args(annotation)[1:], *_validators(get_args(annotation)[0])]
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for member in get_args(annotation) for part in _validators(member)]
    return []


def _default(info: FieldInfo) -> str:
    value = info.default
    if (
        value is None
        or value is PydanticUndefined
        or isinstance(value, BaseModel)
        or value in ("", (), {}, (None, None))
    ):
        return ""
    if isinstance(value, tuple):
        return f" | default = {', '.join(map(_item, value))}"
    if _type(info) == "<duration>":
        return f" | default = {format_duration(value)}"
    if isinstance(value, ByteSize):
        return f" | default = {value.human_readable(separator='').replace('.0', '')}"
    if isinstance(value, bool):
        return f" | default = {str(value).lower()}"
    return f" | default = {value:g}" if isinstance(value, float) else f" | default = {value}"


def _item(value: object) -> str:
    """Write an item of a default list as in the file, without the fields that have their defaults."""
    if not isinstance(value, BaseModel):
        return str(value)
    own = value.model_dump(mode="json", exclude_defaults=True)
    kind = getattr(value, "kind", "")
    fields = "".join(f", {name}: {number:g}" for name, number in own.items() if name != "kind")
    return f"{{kind: {kind}{fields}}}" if fields else str(kind)


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "configuration.md").write_text(render(), encoding="utf-8")
