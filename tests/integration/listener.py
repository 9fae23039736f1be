"""A small HTTP server of the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.integration.in_thread import InThread

__all__ = ["Answer", "Listener"]

Answer = tuple[int, bytes, Mapping[str, str]]
"""Status, body, and headers beside its length."""


class Listener(InThread):
    """Answers every GET and POST with what `answer` says of the request and its body."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler, bytes], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                received = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body, headers = answer(self, received)
                self.send_response_only(status)
                # The date is one of those that an answer may replace.
                headers = {"Date": self.date_time_string(), **headers, "Content-Length": str(len(body))}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815 - the name that http.server looks for.

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            # Keep-alive connections of a server that still runs must not hold up the end of a test.
            block_on_close = False

            def handle_error(self, *args: object) -> None:
                # A peer that was killed mid-request is part of the tests.
                pass

        super().__init__(Server, Handler)
