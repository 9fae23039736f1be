"""TLS context of a server; the signature of its files changes when one of them does."""

from __future__ import annotations

import ssl
from pathlib import Path
from stat import S_ISREG

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from exporter.errors import Reason
from exporter.file_stamp import FileStamp, stamp_of
from exporter.http_client.errors import Fault
from exporter.http_client.settings import TlsSettings
from exporter.http_client.transport import TlsContext

__all__ = ["context", "signature"]

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


def signature(settings: TlsSettings) -> tuple[tuple[int, ...], ...]:
    """Return a value that changes when one of the files is written or replaced.

    Raises
    ------
    Fault
        CREDENTIALS, when a file is not there.
    """
    files = {"ca_file": settings.ca_file, "cert_file": settings.cert_file, "key_file": settings.key_file}
    return tuple(_stamp(name, file) for name, file in files.items() if file is not None)


def context(settings: TlsSettings) -> TlsContext:
    """Read the files; trust the configured CA alone, or else the system's and certifi's.

    Raises
    ------
    Fault
        CREDENTIALS, when a file cannot be used: a rotation may be half done, the next request tries again.
    """
    made = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = _VERSIONS[settings.min_version]
    if settings.insecure_skip_verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    try:
        if settings.ca_file is not None:
            what = f"ca_file {settings.ca_file}"
            made.load_verify_locations(cafile=settings.ca_file)
        else:
            # A slim container has no system store, an intranet's CA is only there.
            what = "the default CA store"
            made.load_default_certs()
            made.load_verify_locations(cafile=DEFAULT_CA_BUNDLE_PATH)
        if settings.cert_file is not None and settings.key_file is not None:
            what = f"cert_file {settings.cert_file} with key_file {settings.key_file}"
            # Without the callback OpenSSL would ask the terminal for the pass phrase of an encrypted key.
            made.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: b"")
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError too, with the library's short reason instead of a strerror.
        detail = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not usable"
        raise Fault(Reason.CREDENTIALS, f"{what}: {str(detail).replace('_', ' ').lower()}") from None
    return made


def _stamp(name: str, file: Path) -> FileStamp:
    try:
        stat = file.stat()
    except OSError as error:
        raise Fault(Reason.CREDENTIALS, f"{name} {file} cannot be read: {error.strerror}") from None
    if not S_ISREG(stat.st_mode):
        raise Fault(Reason.CREDENTIALS, f"{name} {file} is not a regular file")
    return stamp_of(stat)
