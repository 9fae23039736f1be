"""The section ``tls_server_config`` of the web configuration file, in the words of Go, as an SSL context."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from exporter.settings import Items, Section

__all__ = ["TlsServer", "server_tls"]

ConfigPath = Annotated[Path, Field(strict=False)]

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CIPHERS: Mapping[str, str | None] = {
    # Those of TLS 1.3 cannot be chosen, in Go neither.
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_VERIFYING = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")


def _client_auth(kind: object) -> object:
    if kind in ("RequireAnyClientCert", "RequireClientCert"):
        raise ValueError(f"{kind} does not verify the certificate, which Python's OpenSSL cannot leave out; use "
                         "RequireAndVerifyClientCert")  # fmt: skip
    return kind or "NoClientCert"


class TlsServer(Section):
    """Our certificate, and whose certificates we ask for."""

    cert: str | None = Field(None, description="Certificate of the server, with its chain, as PEM.")
    key: SecretStr | None = Field(None, description="Key of the certificate, as PEM.")
    client_ca: str | None = Field(None, description="CA that signs the certificates of clients, as PEM.")
    cert_file: ConfigPath | None = Field(None, description="File with the certificate and its chain.")
    key_file: ConfigPath | None = Field(None, description="File with the key.")
    client_ca_file: ConfigPath | None = Field(None, description="CA bundle that signs the certificates of clients.")
    client_auth_type: Annotated[
        Literal["NoClientCert", "RequestClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"],
        BeforeValidator(_client_auth),
    ] = Field("NoClientCert", description="Whether clients show a certificate.")
    client_allowed_sans: Items[str] = Field((), description="Names of which a client's certificate must have one.")
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = Field("TLS12", description="Lowest TLS version.")
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = Field("TLS13", description="Highest TLS version.")
    cipher_suites: Items[str] = Field((), description="Cipher suites up to TLS 1.2, by their names in Go.")
    prefer_server_cipher_suites: bool = Field(True, description="Let the order of the server decide.")
    curve_preferences: Items[str] = Field((), description="Elliptic curves; of several, the first is used.")

    @field_validator("cipher_suites", "curve_preferences")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in _CIPHERS and name not in _CURVES:
                raise ValueError(f"{name!r} is not one of them: {', '.join(_CIPHERS)}; {', '.join(_CURVES)}")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.enabled:
            return self
        for name in ("cert", "key", "client_ca"):
            both = getattr(self, name) is not None and getattr(self, f"{name}_file") is not None
            if both:
                raise ValueError(f"give {name} or {name}_file, not both")
            if name != "client_ca" and getattr(self, name) is None and getattr(self, f"{name}_file") is None:
                raise ValueError(f"one of {name} and {name}_file is missing")
        if (self.client_ca_file or self.client_ca) and self.client_auth_type == "NoClientCert":
            raise ValueError("client_ca_file and a client_auth_type that asks for certificates belong together")
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert")
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")
        return self

    @property
    def enabled(self) -> bool:
        """Whether HTTPS is served: an empty section asks for nothing."""
        parts = (self.cert, self.key, self.client_ca, self.cert_file, self.key_file, self.client_ca_file)
        return any(part is not None for part in parts) or self.client_auth_type != "NoClientCert"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are named."""
        return tuple(file for file in (self.cert_file, self.key_file, self.client_ca_file) if file is not None)

    def below(self, folder: Path) -> Self:
        """Return it with the files relative to a folder."""
        names = ("cert_file", "key_file", "client_ca_file")
        files = {name: folder / getattr(self, name) for name in names if getattr(self, name) is not None}
        return self.model_copy(update=files)


def server_tls(tls: TlsServer) -> ssl.SSLContext:
    """Build the context of the server; OSError (of which SSLError is one) where a file is not usable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _choose_ciphers(context, tls)
    if tls.curve_preferences:
        context.set_ecdh_curve(_CURVES[tls.curve_preferences[0]])
    _load_certificate(context, tls)
    if tls.client_auth_type in _VERIFYING:
        if tls.client_ca_file is not None or tls.client_ca is not None:
            context.load_verify_locations(cafile=tls.client_ca_file, cadata=tls.client_ca)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        required = tls.client_auth_type == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _choose_ciphers(context: ssl.SSLContext, tls: TlsServer) -> None:
    # The signatures of old versions are below OpenSSL's level of security.
    level = ":@SECLEVEL=0" if tls.min_version < "TLS12" else ""
    names = [name for suite in tls.cipher_suites if (name := _CIPHERS.get(suite)) is not None]
    if names:
        context.set_ciphers(":".join(names) + level)
    elif tls.cipher_suites:
        # Only suites of TLS 1.3: nothing is left for versions before.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    elif level:
        context.set_ciphers("DEFAULT" + level)


def _load_certificate(context: ssl.SSLContext, tls: TlsServer) -> None:
    """Load certificate and key; text goes through a file in memory, because the library reads files only."""
    opened: list[int] = []

    def readable(text: str | None, file: Path | None) -> Path:
        if text is None:
            assert file is not None  # noqa: S101 - validated.
            return file
        descriptor = os.memfd_create("pem")
        opened.append(descriptor)
        os.write(descriptor, text.encode())
        return Path(f"/proc/self/fd/{descriptor}")

    try:
        key = None if tls.key is None else tls.key.get_secret_value()
        certificate = readable(tls.cert, tls.cert_file)
        context.load_cert_chain(certificate, readable(key, tls.key_file), password=_no_password)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _no_password() -> bytes:
    # Otherwise OpenSSL asks on the terminal, and a daemon waits there for ever.
    raise ValueError("the key is encrypted; an unencrypted one is needed")
