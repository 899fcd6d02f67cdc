"""Names that are allowed are reached through the proxy, and nothing else is."""

from __future__ import annotations

import http.server
import ipaddress
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from cwm_env.errors import InputError
from cwm_env.sandbox import rules
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.proxy import Refusal
from cwm_env.types import Image, Limits
from tests.sandbox.tools import needs_python, python, said, shell

needs_curl = pytest.mark.skipif(not Path("/usr/bin/curl").exists(), reason="no curl in /usr")
FETCH = """
import socket, sys
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.create_connection(("127.0.0.1", 3128), 5)
if kind == "socks":
    name = host.encode()
    s.sendall(b"\\5\\1\\0"); assert s.recv(2) == b"\\5\\0"
    s.sendall(b"\\5\\1\\0\\3" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    code = s.recv(10)[1]
    if code: sys.exit("socks " + str(code))
elif kind == "connect":
    s.sendall(f"CONNECT {host}:{port} HTTP/1.1\\r\\n\\r\\n".encode())
    answer = s.recv(4096)
    if b" 200 " not in answer: sys.exit(answer.decode())
path = f"http://{host}:{port}/x?y" if kind == "plain" else "/x?y"
s.sendall(f"GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
data = b""
while more := s.recv(4096): data += more
print(data.decode().split("\\r\\n")[0], data.decode().split("\\r\\n\\r\\n")[1])
"""


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"you asked for {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """A web server on the machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


class Filtered(Protocol):
    """A backend that says what it refused."""

    def create(self, image: Image, limits: Limits) -> Sandbox: ...

    def refused(self, sandbox: Sandbox) -> tuple[Refusal, ...]: ...


def fetch(backend: Filtered, image: Image, allow: tuple[str, ...], kind: str, host: str, port: int) -> str:
    sandbox = backend.create(image, Limits(network="allow", allow=allow))
    try:
        script = f"import sys; sys.argv[1:] = [{kind!r}, {host!r}, '{port}']\n{FETCH}"
        done = python(sandbox, script)
        refused = [(refusal.host, refusal.port) for refusal in backend.refused(sandbox)]
        assert refused == ([] if done.exit_code == 0 else [(host, port)])
        return said(done) + done.stderr.decode()
    finally:
        sandbox.close()


def is_reached(backend: Filtered, image: Image, port: int, kind: str) -> None:
    for host in ("127.0.0.1", "localhost"):
        said = fetch(backend, image, (f"{host}:{port}",), kind, host, port)
        assert said == "HTTP/1.0 200 OK you asked for /x?y"


REFUSED = [
    ("example.org", "127.0.0.1"),
    ("127.0.0.1:1", "127.0.0.1"),
    ("*.example.org:{port}", "example.org"),
    ("example.org:{port}", "example.org.evil.test"),
    ("*.localdomain:{port}", "localhost"),
]
"""What is allowed, and a host that is not."""


def is_refused(backend: Filtered, image: Image, port: int, kind: str, allow: str, host: str) -> None:
    answer = fetch(backend, image, (allow.format(port=port),), kind, host, port)
    assert "may not be reached" in answer or "socks 2" in answer


def does_not_lead_home(backend: Filtered, image: Image, port: int, name: str) -> None:
    """``name`` is of the machine's own table; a hostile name server could say the same of any name."""
    try:
        found = socket.getaddrinfo(name, port)
    except OSError:
        pytest.skip(f"{name} is not known here")
    if any(ipaddress.ip_address(str(entry[4][0])).is_global for entry in found):
        pytest.skip(f"{name} is public here")
    assert "not a public one" in fetch(backend, image, (f"{name}:{port}",), "connect", name, port)


@needs_python
@pytest.mark.parametrize("kind", ["connect", "plain", "socks"])
def test_what_is_allowed_is_reached(backend: NamespacesBackend, image: Image, port: int, kind: str) -> None:
    is_reached(backend, image, port, kind)


@needs_python
@pytest.mark.parametrize("kind", ["connect", "socks"])
@pytest.mark.parametrize(("allow", "host"), REFUSED)
def test_what_is_not_allowed_is_refused_and_noted(
    backend: NamespacesBackend, image: Image, port: int, kind: str, allow: str, host: str
) -> None:
    is_refused(backend, image, port, kind, allow, host)


@needs_python
@pytest.mark.parametrize("name", ["ip6-localhost", "ip6-loopback", socket.gethostname()])
def test_a_name_that_leads_to_the_machine_itself_is_refused(
    backend: NamespacesBackend, image: Image, port: int, name: str
) -> None:
    does_not_lead_home(backend, image, port, name)


@needs_curl
def test_programs_find_the_proxy_in_their_environment(backend: NamespacesBackend, image: Image, port: int) -> None:
    sandbox = backend.create(image, Limits(network="allow", allow=(f"127.0.0.2:{port}",)))
    done = shell(
        sandbox, f"curl -s http://127.0.0.2:{port}/a; curl -s --max-time 2 http://10.1.2.3/; echo; env | grep -c _proxy"
    )
    assert b"may not be reached" in done.stdout
    sandbox.close()


def test_garbage_ends_its_own_connection_only(backend: NamespacesBackend, image: Image, port: int) -> None:
    sandbox = backend.create(image, Limits(network="allow", allow=(f"127.0.0.1:{port}",)))
    for garbage in (
        r"\x05",
        r"\x05\x01\x00\x05\x01\x00\x09",
        r"GET / HTTP/1.1\r\n\r\n",
        r"\x00\xff\r\n\r\n",
        "CONNECT a",
    ):
        shell(sandbox, f"exec 3<>/dev/tcp/127.0.0.1/3128; printf '{garbage}' >&3; timeout 0.1 cat <&3")
    done = shell(
        sandbox, f"exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT 127.0.0.1:{port} X\\r\\n\\r\\n' >&3; head -1 <&3"
    )
    assert b" 200 " in done.stdout
    sandbox.close()


@pytest.mark.parametrize("entry", ["", ":443", "a b:1", "*", "x:0", "x:y", "http://x/", "*.*.x:1", "x:99999"])
def test_an_entry_that_is_none_is_refused(entry: str, backend: NamespacesBackend, image: Image) -> None:
    with pytest.raises(InputError):
        rules.parse([entry])
    with pytest.raises(InputError):
        backend.create(image, Limits(network="allow", allow=(entry,)))


def test_entries_are_read_as_written() -> None:
    (wide, six, plain) = rules.parse(["*.Example.org:80,8080", "[::1]:5", "example.org."])
    assert rules.find([wide], "a.example.org", 8080) and not rules.find([wide], "example.org", 80)
    assert rules.find([six], "::1", 5) and six.means_this_machine
    assert rules.find([plain], "EXAMPLE.org.", 443) and not rules.find([plain], "badexample.org", 443)
