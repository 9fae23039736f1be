"""The entries of ``alertmanagers:``."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    field_validator,
    model_serializer,
    model_validator,
)

from exporter.http_client.settings import HttpSettings, HttpUrl
from exporter.settings import Duration, Items, Section

__all__ = ["AlertmanagerEntry", "AlertmanagerSettings", "DnsDiscovery", "FileDiscovery"]


_ENDPOINT = re.compile(r"/api/v[12](?:/(?:alerts|silences?|status))?/?$")


def _base(url: str) -> str:
    """Return the base of a URL that was copied from a request."""
    return _ENDPOINT.sub("", url)


_BaseUrl = Annotated[HttpUrl, AfterValidator(_base)]
_URL: TypeAdapter[str] = TypeAdapter(_BaseUrl)


class AlertmanagerSettings(HttpSettings):
    """One Alertmanager. Every one of them gets every alert; never put a load balancer in between."""

    url: _BaseUrl = Field(
        description="Base URL, with the path prefix if there is one. `/api/v2` and `/api/v2/alerts` at its end are "
        "left out.",
    )
    timeout: Duration = Field(10.0, gt=0, description="Total deadline of one request.")
    batch_size: int = Field(256, ge=1, le=1024, description="Alerts in one request.")
    utf8_labels: bool | None = Field(
        None,
        description="Send label names outside `[a-zA-Z_][a-zA-Z0-9_]*` as they are; if not, they are written with "
        "underscores. Left out: what its version takes (0.27 and newer), which it is asked for.",
    )


class DnsDiscovery(Section):
    """Alertmanagers by DNS: every address, or every host of an SRV record, is one."""

    names: Items[str] = Field(min_length=1, description="Names that are looked up.")
    type: Literal["A", "AAAA", "SRV"] = Field("SRV", description="Record type; of SRV records the port is used, too.")
    port: int | None = Field(None, ge=1, le=65535, description="Port, for `A` and `AAAA`.")
    refresh_interval: Duration = Field(30.0, ge=1.0, description="How often they are looked up.")

    @model_validator(mode="after")
    def _check_port(self) -> Self:
        if self.type == "SRV" and self.port is not None:
            raise ValueError("an SRV record has its own port; leave port out")
        if self.type != "SRV" and self.port is None:
            raise ValueError(f"records of type {self.type} have no port; give port")
        return self


class FileDiscovery(Section):
    """Alertmanagers in files, in the format of Prometheus' ``file_sd_configs``."""

    files: Items[str] = Field(
        min_length=1,
        description="Files of YAML or JSON, as patterns such as `alertmanagers/*.json`; relative ones start at the "
        "folder of the configuration file.",
    )
    refresh_interval: Duration = Field(
        300.0, ge=1.0, description="How often they are read, beside every time that one of them changes."
    )

    @field_validator("files")
    @classmethod
    def _check_ending(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for file in files:
            if not file.endswith((".json", ".yml", ".yaml")):
                raise ValueError(f"{file!r} must end in .json, .yml or .yaml")
        return files


class AlertmanagerEntry(AlertmanagerSettings):
    """One or several Alertmanagers. Every one of them gets every alert; never put a load balancer in between."""

    url: Annotated[HttpUrl, AfterValidator(_base)] = Field(
        "",
        description="Base URL, with the path prefix if there is one. `/api/v2` and `/api/v2/alerts` at its end are "
        "left out. Exactly one of `url`, `dns_sd` and `file_sd` is given. Where its name has several addresses, each "
        "of them is one Alertmanager.",
    )
    dns_sd: DnsDiscovery | None = Field(None, description="Alertmanagers by DNS.")
    file_sd: FileDiscovery | None = Field(None, description="Alertmanagers in files.")
    scheme: Literal["http", "https"] | None = Field(
        None, description="Scheme, for `dns_sd` and `file_sd`. Default: `http`."
    )
    path_prefix: str | None = Field(None, description="Path prefix, for `dns_sd` and `file_sd`.")

    @field_validator("path_prefix")
    @classmethod
    def _check_prefix(cls, prefix: str | None) -> str | None:
        if prefix and not prefix.startswith("/"):
            raise ValueError("must begin with /")
        return prefix

    @model_validator(mode="after")
    def _check_origin(self) -> Self:
        given = [name for name in ("url", "dns_sd", "file_sd") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError("give exactly one of url, dns_sd and file_sd")
        if self.url and (self.scheme is not None or self.path_prefix is not None):
            raise ValueError("scheme and path_prefix are for dns_sd and file_sd; a url has both in it")
        return self

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        # As in the file: an entry without a URL has none.
        return {name: value for name, value in write(self).items() if name != "url" or value}

    def place(self, host: str, scheme: str | None = None, prefix: str | None = None) -> str:
        """Return the URL of a host with its port, by default with the scheme and the prefix of this entry."""
        path = (self.path_prefix or "") if prefix is None else prefix
        return f"{scheme or self.scheme or 'http'}://{host}{path.rstrip('/')}"

    def at(self, url: str, *, name: str | None = None, host: str | None = None) -> AlertmanagerSettings:
        """Return the settings of one Alertmanager of this entry.

        Parameters
        ----------
        name : str, optional
            Name that its certificate must have, unless `tls_config` says another.
        host : str, optional
            The ``Host`` header that it gets, unless `headers` has one.
        """
        fields = {field: getattr(self, field) for field in AlertmanagerSettings.model_fields}
        if name is not None and self.tls_config.server_name is None:
            fields["tls_config"] = self.tls_config.model_copy(update={"server_name": name})
        if host is not None and not any(header.lower() == "host" for header in self.headers):
            fields["headers"] = {**self.headers, "Host": SecretStr(host)}
        # The fields are those of this entry, which were checked; the URL may come from a file.
        return AlertmanagerSettings.model_construct(**{**fields, "url": _URL.validate_python(url)})
