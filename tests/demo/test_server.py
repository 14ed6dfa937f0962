"""The server of demos: what it answers, and what it refuses."""

import contextlib
import http.client
import socket
import threading

import pytest

from gan_jax import errors
from gan_jax.demo import server


class Echo:
    """Answers with what it is asked; counts the requests that are answered at the same time."""

    def __init__(self):
        self.together, self.most = 0, 0
        self.wait = threading.Event()
        self.wait.set()

    def page(self):
        return "<p>the page</p>"

    def answer(self, form, body):
        self.together += 1
        self.most = max(self.most, self.together)
        self.wait.wait(10)
        self.together -= 1
        if "wrong" in form:
            raise errors.ConfigError("wrong = '<b>'; accepted: nothing")
        return f"{sorted(form.items())} {body!r}"


@contextlib.contextmanager
def serving(shown, host="127.0.0.1"):
    with server.Server(host, 0) as made:
        made.demo = shown
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join(10)


@pytest.fixture
def served():
    with serving(Echo()) as made:
        yield made


def ask(served, method, path, body=b"", **headers):
    """Return the status, the text and the headers of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, named)
    response = connection.getresponse()
    found = response.status, response.read().decode(), response.headers
    connection.close()
    return found


def test_the_page_and_answers_are_served(served):
    status, text, headers = ask(served, "GET", "/")
    assert (status, text) == (200, "<p>the page</p>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"
    found = ask(served, "POST", "/answer?a=1&b=two%20words&c=", b"\x00file", Content_Length="5")
    assert found[:2] == (200, "[('a', '1'), ('b', 'two words'), ('c', '')] b'\\x00file'")


def test_errors_are_text_and_nothing_else(served):
    status, text, headers = ask(served, "POST", "/answer?wrong=1", Content_Length="0")
    assert (status, text) == (400, "wrong = '<b>'; accepted: nothing")
    assert headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path", ["/config.json", "/../../etc/passwd", "/static/demo.js", "/answer"]
)
def test_no_file_is_served(served, path):
    assert ask(served, "GET", path)[:2] == (404, "there is no such page")


def test_other_pages_can_neither_ask_nor_read(served):
    port = served.server_port
    local = f"127.0.0.1:{port}"
    for host in (local, f"localhost:{port}"):
        assert ask(served, "GET", "/", Host=host)[0] == 200
        assert ask(served, "POST", "/answer", Host=host, Origin=f"http://{host}")[0] == 200
    for origin in ("http://evil.example", "null", f"http://localhost:{port + 1}"):
        assert ask(served, "POST", "/answer", Host=local, Origin=origin)[0] == 403
    # A name of the web that its owner has pointed at this machine.
    for host in (f"evil.example:{port}", "evil.example", ""):
        assert ask(served, "GET", "/", Host=host)[0] == 403
        assert ask(served, "POST", "/answer", Host=host, Origin=f"http://{host}")[0] == 403


def test_a_server_for_other_machines_has_any_name():
    with serving(Echo(), "0.0.0.0") as made:
        assert not made.is_local
        assert ask(made, "GET", "/", Host="machine.example:80")[0] == 200
        assert ask(made, "POST", "/answer", Host="a.example", Origin="http://b.example")[0] == 403


def test_large_files_and_requests_without_a_length_are_refused(served):
    for size in (str(server.LARGEST + 1), "9" * 5000):
        status, text, _ = ask(served, "POST", "/answer", Content_Length=size)
        assert (status, text) == (413, "the file is too large; accepted: up to 32 MiB")
    with socket.create_connection(("127.0.0.1", served.server_port), 20) as line:
        line.sendall(f"POST /answer HTTP/1.0\r\nHost: {served.url[7:-1]}\r\n\r\n".encode())
        assert b" 411 " in line.recv(4096).splitlines()[0]
    assert ask(served, "POST", f"/answer?{'a=1&' * 30}")[0] == 400


def test_requests_are_answered_one_at_a_time(served):
    served.demo.wait.clear()
    threads = [threading.Thread(target=ask, args=(served, "POST", "/answer")) for _ in range(3)]
    for thread in threads:
        thread.start()
    # The page is not one of them.
    assert ask(served, "GET", "/")[0] == 200
    served.demo.wait.set()
    for thread in threads:
        thread.join(20)
    assert served.demo.most == 1


def test_a_reader_that_leaves_is_no_error(served, capfd):
    served.demo.wait.clear()
    with socket.create_connection(("127.0.0.1", served.server_port), 20) as line:
        head = f"POST /answer HTTP/1.0\r\nHost: {served.url[7:-1]}\r\nContent-Length: 9\r\n\r\n"
        line.sendall(head.encode())
        # A reset, not an orderly end.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    served.demo.wait.set()
    assert ask(served, "GET", "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_an_address_that_cannot_be_used_is_refused(served):
    with pytest.raises(errors.ConfigError, match=r"--port=\d+: Address already in use; accepted"):
        server.Server("127.0.0.1", served.server_port)
    with pytest.raises(errors.ConfigError, match=r"--host=203\.0\.113\.1 --port=0: "):
        server.Server("203.0.113.1", 0)
