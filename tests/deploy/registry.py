"""A registry of OCI artifacts, as small as `helm push` and `helm pull` need it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

__all__ = ["registry"]


@contextmanager
def registry() -> Iterator[str]:
    """Give the ``host:port`` of a registry that forgets everything at the end."""
    stored: dict[str, tuple[str, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self, code: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/v2/":
                return self._reply(200)
            if path not in stored:
                return self._reply(404)
            kind, body = stored[path]
            return self._reply(200, body, Content_Type=kind, Docker_Content_Digest=_digest(body))

        do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for.

        def do_POST(self) -> None:
            self._body()
            self._reply(202, Location=urlsplit(self.path).path + "1")

        def do_PUT(self) -> None:
            body, url = self._body(), urlsplit(self.path)
            digest = _digest(body)
            kind = self.headers.get("Content-Type", "application/octet-stream")
            if "/manifests/" in url.path:
                stored[url.path] = stored[url.path.rpartition("/")[0] + "/" + digest] = (kind, body)
            else:
                assert parse_qs(url.query)["digest"] == [digest]
                stored[url.path.partition("/uploads/")[0] + "/" + digest] = (kind, body)
            self._reply(201, Location=url.path, Docker_Content_Digest=digest)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()
