"""Request headers that carry secrets. Files are read for every request, so a rotated secret needs no restart."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

from pydantic import SecretStr

from exporter.errors import Reason
from exporter.http_client.errors import Fault
from exporter.http_client.settings import HttpSettings, has_control_characters

__all__ = ["secret_headers"]

_LARGEST_FILE = 64 * 1024


def secret_headers(settings: HttpSettings) -> dict[str, bytes]:
    """Return the ``Authorization`` header and the configured ones.

    Raises
    ------
    Fault
        CREDENTIALS, with the name of the field or file and never its content.
    """
    headers = {name: value.get_secret_value().encode().strip() for name, value in settings.headers.items()}
    if settings.basic_auth is not None:
        basic = settings.basic_auth
        password = _secret("password_file", basic.password, basic.password_file)
        headers["Authorization"] = b"Basic " + base64.b64encode(basic.username.encode() + b":" + password)
    elif settings.authorization is not None:
        bearer = settings.authorization
        token = _secret("credentials_file", bearer.credentials, bearer.credentials_file)
        headers["Authorization"] = _checked("authorization", bearer.type.encode() + b" " + token)
    return headers


def _secret(name: str, inline: SecretStr | None, file: Path | None) -> bytes:
    if file is None:
        return inline.get_secret_value().encode() if inline is not None else b""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            # A pipe would be waited for.
            raise Fault(Reason.CREDENTIALS, f"{name} {file} is not a regular file")
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise Fault(Reason.CREDENTIALS, f"{name} {file} cannot be read: {error.strerror}") from None
    # A file that is being rewritten may be empty; an empty secret is never meant.
    if not content.strip():
        raise Fault(Reason.CREDENTIALS, f"{name} {file} is empty")
    if len(content) > _LARGEST_FILE:
        raise Fault(Reason.CREDENTIALS, f"{name} {file} is larger than 64 KiB")
    return content.strip()


def _checked(name: str, value: bytes) -> bytes:
    if has_control_characters(value):
        raise Fault(Reason.CREDENTIALS, f"{name} holds a control character")
    return value.strip()
