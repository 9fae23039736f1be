"""A server of the test itself, in a thread, for what the servers under test call."""

from __future__ import annotations

import socketserver
import threading
from typing import Self

__all__ = ["InThread"]


class InThread:
    """Serves while it is a context.

    Attributes
    ----------
    address : str
        ``host:port``.
    """

    def __init__(self, server: type[socketserver.TCPServer], handler: type[socketserver.BaseRequestHandler]) -> None:
        self._server = server(("127.0.0.1", 0), handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
