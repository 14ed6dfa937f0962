"""The server of a demo's page: one page, one kind of request, no files."""

import http
import http.server
import socketserver
import sys
import threading
import urllib.parse
from typing import Any

from typing_extensions import override

from gan_jax import errors
from gan_jax.demo.demo import LARGEST, Demo

#: The names of this machine to itself.
LOCAL = ("127.0.0.1", "localhost")
_MOST_FIELDS = 20
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(http.server.ThreadingHTTPServer):
    """Serves a demo: ``GET /`` is its page, ``POST /answer?FIELDS`` an answer.

    Requests are accepted from the creation on and answered while `serve_forever` runs, one at a
    time. A server of an address of this machine alone refuses requests under other names of it,
    which a page of the web could give itself.

    Args:
      host: the address to listen at.
      port: likewise; 0: any that is free.

    Attributes:
      demo: what is served; set before `serve_forever`.
      url: the address of the page.

    Raises:
      ConfigError: the address cannot be used.
    """

    daemon_threads = True
    demo: Demo

    def __init__(self, host: str, port: int) -> None:
        self._host, self._lock = host, threading.Lock()
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise errors.ConfigError(
                f"--host={host} --port={port}: {getattr(error, 'strerror', None) or error}; "
                "accepted: an address of this machine and a free port, or --port=0 for any"
            ) from error

    @override
    def server_bind(self) -> None:
        # That of `HTTPServer` asks name servers for the name of the host as well.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self._host, self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{self._host}:{self.server_port}/"

    @property
    def is_local(self) -> bool:
        """Whether other machines cannot reach it."""
        return self._host in LOCAL

    def accepts(self, host: str) -> bool:
        """Return whether a request for a host, as its header names it, is answered."""
        return not self.is_local or host.partition(":")[0] in LOCAL

    def answer(self, query: str, body: bytes) -> str:
        """Return the answer to a request, once those before it are answered.

        Raises:
          GanJaxError: it cannot be answered; the message is for the page.
        """
        try:
            fields = urllib.parse.parse_qs(
                query, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
            )
        except ValueError as error:
            raise errors.ConfigError(f"the request cannot be read: {error}") from error
        with self._lock:
            return self.demo.answer({name: values[-1] for name, values in fields.items()}, body)

    @override
    def server_close(self) -> None:
        # A computation that goes on while the interpreter ends would crash it.
        with self._lock:
            super().server_close()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    server_version, sys_version = "gan_jax", ""
    # Seconds that a connection may be silent for.
    timeout = 60

    def do_GET(self) -> None:
        """Send the page."""
        if not self.server.accepts(self.headers.get("Host", "")):
            self._send(http.HTTPStatus.FORBIDDEN, f"the page is at {self.server.url}")
        elif self.path.partition("?")[0] != "/":
            self._send(http.HTTPStatus.NOT_FOUND, "there is no such page")
        else:
            self._send(http.HTTPStatus.OK, self.server.demo.page(), "text/html")

    def do_POST(self) -> None:
        """Send an answer, or the message of an error."""
        path, _, query = self.path.partition("?")
        host, length = self.headers.get("Host", ""), self.headers.get("Content-Length", "")
        # A browser names the site of the page that asks.
        site = self.headers.get("Origin", f"http://{host}").partition("://")[2]
        if not self.server.accepts(host) or site != host:
            self._send(http.HTTPStatus.FORBIDDEN, f"the page is at {self.server.url}")
        elif path != "/answer":
            self._send(http.HTTPStatus.NOT_FOUND, "there is no such page")
        elif not length.isdecimal():
            self._send(http.HTTPStatus.LENGTH_REQUIRED, "the request has no length")
        elif len(length) > len(str(LARGEST)) or int(length) > LARGEST:
            self._send(
                http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the file is too large; accepted: up to {LARGEST // 2**20} MiB",
            )
        else:
            body = self.rfile.read(int(length))
            try:
                answer = self.server.answer(query, body)
            except errors.GanJaxError as error:
                self._send(http.HTTPStatus.BAD_REQUEST, str(error))
            else:
                self._send(http.HTTPStatus.OK, answer, "text/html")

    def _send(self, status: http.HTTPStatus, text: str, kind: str = "text/plain") -> None:
        content = text.encode("utf-8", "replace")
        self.send_response(status)
        headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(content))}
        for name, value in {**headers, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests contain what users ask for."""
