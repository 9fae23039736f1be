"""The file of ``--web.config.file``, in the format that all Prometheus components share.

TLS, client certificates, users, response headers and a limit of requests. It is read again when it or a certificate
changes; a version that cannot be used is reported and the last good one stays in force.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationError

from exporter.errors import ConfigError, Problem
from exporter.file_stamp import file_stamp
from exporter.settings import Section
from exporter.web.auth import Users, bcrypt_cost, plain_name
from exporter.web.rate_limit import RateLimit, TokenBucket
from exporter.web.tls_server import TlsServer, server_tls
from exporter.yaml_reader import parse, problem_at, read_text

__all__ = ["Access", "WebConfig", "WebConfigFile", "load_web_config"]

log = logging.getLogger(__name__)

_HEADERS: Mapping[str, tuple[str, ...] | None] = {
    "Content-Security-Policy": None,
    "Strict-Transport-Security": None,
    "X-Content-Type-Options": ("", "nosniff"),
    "X-Frame-Options": ("", "deny", "sameorigin"),
    "X-XSS-Protection": None,
}


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name not in _HEADERS:
            raise ValueError(f"{name!r} cannot be set here; these can: {', '.join(_HEADERS)}")
        allowed = _HEADERS[name]
        if allowed is not None and value.lower() not in allowed:
            raise ValueError(f"{name} must be {' or '.join(filter(None, allowed))}")
        if not value.isprintable() or not value.isascii():
            raise ValueError(f"{name} has characters that no header may have")
    return headers


class HttpServer(Section):
    """How we answer."""

    http2: bool = Field(True, description="Accepted for compatibility; HTTP/1.1 is served.")
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        {}, description="Headers of every answer; an empty value removes one that is set by default."
    )


def _users(users: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for user, hashed in users.items():
        if ":" in user:
            raise ValueError(f"{user!r}: a user name with a colon can never log in")
        try:
            bcrypt_cost(hashed.get_secret_value())
        except ValueError as error:
            raise ValueError(f"{user}: {error}") from None
    return users


class WebConfig(Section):
    """The whole file."""

    tls_server_config: TlsServer = Field(TlsServer(), description="Serve HTTPS.")
    http_server_config: HttpServer = Field(HttpServer(), description="Response headers.")
    basic_auth_users: Annotated[dict[str, SecretStr], AfterValidator(_users)] = Field(
        {}, description="User names and bcrypt hashes. Without any, everybody may ask."
    )
    rate_limit: RateLimit = Field(RateLimit(), description="How many requests are answered.")


def _read(path: Path) -> WebConfig:
    document = parse(read_text(path), path)
    problems = []
    for loc, several in document.problems.items():
        # The message of a number repeats it, and here it may be a password.
        if loc[0] == "basic_auth_users" and loc in document.written:
            several = [replace(problem, message="must be text; put it in quotes") for problem in several]
        problems += several
    try:
        config = WebConfig.model_validate({} if document.data is None else document.data)
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False):
            if each["loc"] not in document.problems:
                position = document.position(each["loc"], key=True)
                problems.append(problem_at(position, each["loc"], _message(each["msg"], each["type"])))
    if problems:
        raise ConfigError(str(path), problems)
    return config


def _message(message: str, kind: str) -> str:
    return {"extra_forbidden": "unknown field", "missing": "required"}.get(kind, message.removeprefix("Value error, "))


def load_web_config(path: Path) -> WebConfig:
    """Read the file; paths in it are relative to its directory.

    Raises
    ------
    ConfigError
        With every problem and its place. Hashes are never in it.
    """
    config = _read(path)
    return config.model_copy(update={"tls_server_config": config.tls_server_config.below(path.parent)})


@dataclass(frozen=True)
class Access:
    """What one good version of the file means for a connection."""

    tls: ssl.SSLContext | None
    users: Users
    headers: Mapping[str, str]
    client_names: frozenset[str]
    bucket: TokenBucket


class WebConfigFile:
    """The file, followed as it changes. Not thread-safe: the server's own thread asks.

    Parameters
    ----------
    path : Path or None
        None serves plain HTTP to everybody.
    loaded : callable
        Told after every attempt whether the file could be used.

    Raises
    ------
    ConfigError
        The file cannot be used now, at the start.
    """

    def __init__(self, path: Path | None, *, loaded: Callable[[bool], None] = lambda _: None) -> None:
        self._path = path
        self._loaded = loaded
        self._seen: tuple[object, ...] = ()
        self._access = Access(None, Users({}), {}, frozenset(), TokenBucket(RateLimit()))
        self._files: tuple[Path, ...] = () if path is None else (path,)
        if path is not None:
            # The state before the reading, so that a change during it is not missed.
            self._seen = self._state()
            self._read(path)
        loaded(True)

    def current(self) -> Access:
        """Return what is in force, after a look at whether a file has changed."""
        if self._path is not None and (state := self._state()) != self._seen:
            self._seen = state
            try:
                self._read(self._path)
            except ConfigError as error:
                log.error("web configuration not reloaded, the last good one stays in force: %s", error)
                self._loaded(False)
            else:
                log.info("web configuration reloaded")
                self._loaded(True)
        return self._access

    def _read(self, path: Path) -> None:
        config = load_web_config(path)
        tls = config.tls_server_config
        watched = (path, *tls.files)
        if watched != self._files:
            # Also where they cannot be used yet: they may appear later.
            self._files = watched
            self._seen = self._state()
        try:
            context = server_tls(tls) if tls.enabled else None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(str(path), [Problem(1, 1, "tls_server_config", f"certificates: {reason}")]) from error
        users = {user: hashed.get_secret_value() for user, hashed in config.basic_auth_users.items()}
        names = frozenset(map(plain_name, tls.client_allowed_sans))
        bucket = self._access.bucket
        if bucket.limit != config.rate_limit:
            bucket = TokenBucket(config.rate_limit)
        self._access = Access(context, Users(users), config.http_server_config.headers, names, bucket)

    def _state(self) -> tuple[object, ...]:
        return tuple(file_stamp(file) for file in self._files)
