"""A real HTTP server on loopback that sends scripted or computed replies."""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """One reply. `cut` closes the connection in the middle of the body; `echo` appends the request."""

    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    echo: bool = False


@dataclass
class ScriptedServer:
    url: str
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


class QuietServer(ThreadingHTTPServer):
    """Logs no disconnected client: it may outlive its test, and its log would appear in the next test."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def scripted(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serve the replies, over https if `tls` holds a certificate."""
    script = list(replies)
    with answering(lambda _: script.pop(0) if len(script) > 1 else script[0], tls) as server:
        yield server


@contextmanager
def answering(answer: Callable[[str], Reply], tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serve the reply to each path and query, over https if `tls` holds a certificate.

    `requests` collects (path and query, headers) of each request, `bodies` its body.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                server.bodies.append(sent)
                reply = answer(self.path)
                server.requests.append((self.path, dict(self.headers)))
            if reply.echo:
                reply = replace(reply, body=reply.body + f"{dict(self.headers)}".encode() + sent)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
            self.close_connection = reply.cut

        def log_message(self, format: str, *args: object) -> None:
            pass

    with QuietServer(("127.0.0.1", 0), Handler) as http:
        if tls:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        server = ScriptedServer(f"http{'s' if tls else ''}://127.0.0.1:{http.server_address[1]}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
