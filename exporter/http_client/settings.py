"""Settings of a server and its credentials, under the names that Prometheus uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from exporter.settings import Section

__all__ = ["Authorization", "BasicAuth", "HttpSettings", "HttpUrl", "TlsSettings"]

_WITHOUT_SCHEME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/.*)?")


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        advice = f"; did you mean http://{url}?" if _WITHOUT_SCHEME.fullmatch(url) else ""
        raise ValueError(f"not an http:// or https:// URL with a host{advice}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong in a URL; use basic_auth")
    if parts.query or parts.fragment:
        base = urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix("/"), "", ""))
        raise ValueError(f"a base URL has no query and no fragment; write {base}")
    parts.port  # noqa: B018 - raises ValueError for a port that is not a number.
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]

ConfigPath = Annotated[Path, Field(strict=False)]
"""A path in the file; relative ones are relative to the configuration file (resolved on load)."""


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def has_control_characters(value: bytes) -> bool:
    """Return whether a value cannot be that of a header: a line break would begin another one."""
    return _CONTROL.search(value) is not None


def _headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"not a header name: {name[:60]!r}")
        if has_control_characters(value.get_secret_value().strip().encode("utf-8", "surrogatepass")):
            raise ValueError(f"header {name!r} holds a control character, such as a line break")
    return headers


class BasicAuth(Section):
    """User name and password; the password may be in a file that is read for every request."""

    username: str = Field(min_length=1, description="User name.")
    password: SecretStr | None = Field(None, description="Password. `${ENV}` is expanded.")
    password_file: ConfigPath | None = Field(None, description="File that holds the password.")

    @model_validator(mode="after")
    def _check_password(self) -> Self:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("give exactly one of password and password_file")
        return self


class Authorization(Section):
    """The ``Authorization`` header; ``Bearer`` unless another type is named."""

    type: str = Field("Bearer", description="Authentication scheme.")
    credentials: SecretStr | None = Field(None, description="Token. `${ENV}` is expanded.")
    credentials_file: ConfigPath | None = Field(None, description="File that holds the token.")

    @model_validator(mode="after")
    def _check_credential(self) -> Self:
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("give exactly one of credentials and credentials_file")
        if self.type.lower() == "basic":
            raise ValueError("type must not be Basic; use basic_auth")
        return self


class TlsSettings(Section):
    """CA and client certificate."""

    ca_file: ConfigPath | None = Field(None, description="CA bundle that signs the server's certificate.")
    cert_file: ConfigPath | None = Field(None, description="Client certificate, for mTLS.")
    key_file: ConfigPath | None = Field(None, description="Key of the client certificate.")
    server_name: str | None = Field(None, description="Name expected in the server's certificate.")
    min_version: Literal["TLS12", "TLS13"] = Field("TLS12", description="Lowest TLS version accepted.")
    insecure_skip_verify: bool = Field(False, description="Accept any certificate. Do not.")

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class HttpSettings(Section):
    """One server, its credentials, and how to talk to it."""

    url: HttpUrl = Field(description="Base URL, with the path prefix if there is one.")
    basic_auth: BasicAuth | None = Field(None, description="User name and password.")
    authorization: Authorization | None = Field(None, description="Bearer token or another scheme.")
    tls_config: TlsSettings = Field(TlsSettings(), description="Certificates.")
    headers: Annotated[dict[str, SecretStr], AfterValidator(_headers)] = Field(
        {}, description="More request headers, such as `X-Scope-OrgID`. `${ENV}` is expanded."
    )
    follow_redirects: bool = Field(
        False, description="Follow redirects (GET only, at most 5, same scheme, host and port)."
    )
    proxy_from_environment: bool = Field(False, description="Obey HTTP_PROXY, HTTPS_PROXY and NO_PROXY.")

    @model_validator(mode="after")
    def _check_scheme(self) -> Self:
        if self.basic_auth is not None and self.authorization is not None:
            raise ValueError("give at most one of basic_auth and authorization")
        return self
