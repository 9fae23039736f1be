"""Write the rules of deploy/prometheus/rules as a PrometheusRule for the Prometheus Operator (``make rules``)."""

from __future__ import annotations

from pathlib import Path

import yaml

__all__ = ["TARGET", "render"]

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "deploy" / "kubernetes" / "components" / "prometheus-operator" / "prometheusrule.yaml"

_HEAD = "# Written by `make rules` from deploy/prometheus/rules. Do not edit by hand.\n"


def render() -> str:
    """Return the text of the resource."""
    files = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.rules.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    metadata = {"name": "anomaly-exporter", "labels": {"app.kubernetes.io/name": "anomaly-exporter"}}
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    whole = {**kind, "metadata": metadata, "spec": {"groups": groups}}
    return _HEAD + yaml.dump(whole, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Expressions of several lines stay so."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


if __name__ == "__main__":
    TARGET.write_text(render())
