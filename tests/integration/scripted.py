"""A server that misbehaves on purpose, byte by byte: for faults that no real server can be asked to produce."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["Exchange", "Script", "Scripted", "answer"]


@dataclass
class Exchange:
    """One request, and the raw connection to answer it on."""

    sock: socket.socket
    over: threading.Event
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    number: int

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def drip(self, data: bytes, every: float = 0.02) -> None:
        """Send one byte at a time until the peer or the test ends."""
        for at in range(len(data)):
            if self.over.wait(every):
                return
            self.sock.sendall(data[at : at + 1])

    def hang(self) -> None:
        """Say nothing until the test ends."""
        self.over.wait()

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


Script = Callable[[Exchange], None]


def answer(body: bytes = b"", *, status: str = "200 OK", **headers: str) -> bytes:
    """Return a well-formed answer; ``Retry_After="1"`` is the header ``Retry-After``."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@dataclass
class Scripted:
    """Runs a script for each request; keep-alive. `accepted` counts connections, `exchanges` keeps requests."""

    url: str
    port: int
    exchanges: list[Exchange] = field(default_factory=list)
    accepted: int = 0

    @classmethod
    @contextmanager
    def run(cls, script: Script, *, tls: ssl.SSLContext | None = None, silent: bool = False) -> Iterator[Scripted]:
        """Serve; with `silent`, connections are accepted and never read from (not even a TLS handshake)."""
        over = threading.Event()
        threads: list[threading.Thread] = []
        open_socks: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            server = cls(f"{'https' if tls else 'http'}://127.0.0.1:{port}", port)

            def talk(raw: socket.socket) -> None:
                if silent:
                    over.wait()
                    return
                with suppress(OSError, ValueError):
                    sock = tls.wrap_socket(raw, server_side=True) if tls else raw
                    open_socks.append(sock)
                    while (exchange := _read(sock, over, len(server.exchanges))) is not None:
                        server.exchanges.append(exchange)
                        script(exchange)

            def accept() -> None:
                while not over.is_set():
                    with suppress(OSError):
                        sock, _ = listener.accept()
                        open_socks.append(sock)
                        server.accepted += 1
                        threads.append(threading.Thread(target=talk, args=(sock,), daemon=True))
                        threads[-1].start()

            acceptor = threading.Thread(target=accept, daemon=True)
            acceptor.start()
            try:
                yield server
            finally:
                over.set()
                with suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                acceptor.join(5)
                for sock in open_socks:
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                for thread in threads:
                    thread.join(5)
                for sock in open_socks:
                    sock.close()


def _read(sock: socket.socket, over: threading.Event, number: int) -> Exchange | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += sock.recv(65536)
    method, path, _ = first.split(" ")
    return Exchange(sock, over, method, path, headers, body, number)
