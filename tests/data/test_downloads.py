"""Downloads from a server on this machine: taken up again, limited, and whole or not there."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinygraph.data import cifar, downloads, files, mnist
from tinygraph.data.downloads import Download, fetch
from tinygraph.errors import DataError

pytestmark = pytest.mark.host

CONTENT = bytes(range(256)) * 2000
WANTED = Download("f", hashlib.md5(CONTENT).hexdigest(), size=len(CONTENT))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.5)
    monkeypatch.setenv("NO_PROXY", "*")


class Server(ThreadingHTTPServer):
    """A server that answers by `answer(request, start)`; it notes where the ranges asked for begin."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Request)
        self.answer, self.starts = answer, []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        pass  # the client has gone


class Request(BaseHTTPRequestHandler):
    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.starts.append(start)
        self.server.answer(self, start)

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def whole(request, start):
    request.head(Content_Length=len(CONTENT))
    request.wfile.write(CONTENT)


def ranges(request, start):
    if not start:
        return whole(request, start)
    request.head(206, Content_Length=len(CONTENT) - start, Content_Range=f"bytes {start}-/{len(CONTENT)}")
    request.wfile.write(CONTENT[start:])


def cut(request, start):
    """End in the middle."""
    request.head(Content_Length=len(CONTENT))
    request.wfile.write(CONTENT[:200_000])
    request.close_connection = True


def test_a_file_is_fetched_once(tmp_path, serve):
    server = serve(ranges)
    for _ in range(2):
        fetch(server.url, tmp_path / "inner" / "f", WANTED)
    assert (tmp_path / "inner" / "f").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "inner") == ["f"]
    assert server.starts == [0]


def test_a_damaged_file_is_fetched_anew(tmp_path, serve):
    (tmp_path / "f").write_bytes(CONTENT[:-1] + b"x")
    fetch(serve(ranges).url, tmp_path / "f", WANTED)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_download_that_was_cut_off_goes_on(tmp_path, serve):
    with pytest.raises(OSError, match="Connection broken|IncompleteRead"):
        fetch(serve(cut).url, tmp_path / "f", WANTED)
    assert os.listdir(tmp_path) == ["f.part"]
    server = serve(ranges)
    fetch(server.url, tmp_path / "f", WANTED)
    assert 0 < server.starts[0] <= 200_000
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["f"]


def test_a_server_without_ranges_sends_all_of_it(tmp_path, serve):
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    server = serve(whole)
    fetch(server.url, tmp_path / "f", WANTED)
    assert server.starts == [1000]
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_part_of_something_else_is_dropped(tmp_path, serve, part):
    (tmp_path / "f.part").write_bytes(part)
    fetch(serve(ranges).url, tmp_path / "f", WANTED)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["f"]


def test_a_part_that_is_complete_needs_no_server(tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT)
    fetch("http://127.0.0.1:1/", tmp_path / "f", WANTED)
    assert os.listdir(tmp_path) == ["f"]


def drip(request, start):
    request.head()
    for _ in range(100):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.05)


def drip_head(request, start):
    for _ in range(100):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.05)


def silence(request, start):
    time.sleep(3)


def endless(request, start):
    request.head()
    for _ in range(10_000):
        request.wfile.write(bytes(1 << 16))


def other(request, start):
    request.head(Content_Length=len(CONTENT))
    request.wfile.write(CONTENT[::-1])


def short(request, start):
    request.head(Content_Length=10)
    request.wfile.write(CONTENT[:10])


def refuse(request, start):
    request.send_error(403)


def refuse_the_rest(request, start):
    request.send_error(416)


def to_http(request, start):
    request.head(302, Location="http://example.org/f")


def in_circles(request, start):
    request.head(302, Location=f"http://127.0.0.1:{request.server.server_port}/")


def to_a_file(request, start):
    request.head(302, Location="file:///etc/passwd")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (drip, "fewer than 200,000 bytes came in 0.5 seconds"),
        (drip_head, "fewer than 200,000 bytes came in 0.5 seconds"),
        (silence, "fewer than 200,000 bytes came in 0.5 seconds|Read timed out"),
        (endless, "more than 512,000 bytes came"),
        (other, f"MD5 sum {hashlib.md5(CONTENT[::-1]).hexdigest()}, published is {WANTED.md5}"),
        (short, "10 of 512,000 bytes came"),
        (refuse, "403 Client Error"),
        (refuse_the_rest, "416 Client Error"),
        (to_http, "the address is not https: http://example.org/f"),
        (in_circles, "more than 8 redirections"),
        (to_a_file, "the address is not https: file:///etc/passwd"),
    ],
)
def test_what_is_not_the_published_file_is_told_in_time(tmp_path, serve, monkeypatch, answer, text):
    monkeypatch.setattr(files, "cache", lambda: tmp_path)
    wanted = Download("f.gz", WANTED.md5, (serve(answer).url,), WANTED.size)
    begun = time.monotonic()
    with pytest.raises(DataError, match=rf"^probe: f\.gz could not be downloaded \(.*({text}).*\); do this$") as error:
        files._download("probe", (wanted,), "do this")
    assert time.monotonic() - begun < 3
    assert "\n" not in str(error.value)
    assert not (tmp_path / "probe" / "f.gz").exists()


def test_a_part_that_the_server_does_not_go_on_from_is_dropped(tmp_path, serve):
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    server = serve(lambda request, start: refuse_the_rest(request, start) if start else whole(request, start))
    fetch(server.url, tmp_path / "f", WANTED)
    assert server.starts == [1000, 0]
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_the_next_mirror_goes_on_where_the_last_one_ended(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(files, "cache", lambda: tmp_path)
    first, second = serve(cut), serve(ranges)
    wanted = Download("f", WANTED.md5, (first.url, second.url), WANTED.size)
    files._download("probe", (wanted,), "")
    assert second.starts[0] > 0
    assert (tmp_path / "probe" / "f").read_bytes() == CONTENT


def test_no_address_is_anything_but_https():
    every = [*cifar.DOWNLOADS, *(d for _, files_of in mnist.SETS.values() for d in files_of)]
    assert all(url.startswith("https://") for wanted in every for url in wanted.mirrors)
    assert all(wanted.size > 0 and len(wanted.md5) == 32 for wanted in every)


@pytest.mark.parametrize("missing", ["requests", "platformdirs"])
def test_a_package_that_is_missing_is_told(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wanted = Download("f", WANTED.md5, ("https://127.0.0.1:1/",))
    with pytest.raises(DataError, match=rf"probe: downloading needs {missing} \(pip install {missing}\); or do this"):
        files._download("probe", (wanted,), "do this")


PROGRAM = """
import sys
from pathlib import Path
from tinygraph.data.downloads import Download, fetch
fetch(sys.argv[1], Path(sys.argv[2]), Download("f", sys.argv[3], size=int(sys.argv[4])))
"""


def run(url, path):
    command = [sys.executable, "-c", PROGRAM, url, str(path), WANTED.md5, str(WANTED.size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills as POSIX does")
def test_a_killed_download_leaves_a_part_that_the_next_one_takes_up(tmp_path, serve):
    def slow(request, start):
        request.head(Content_Length=len(CONTENT))
        request.wfile.write(CONTENT[:100_000])
        request.wfile.flush()
        time.sleep(30)

    killed = run(serve(slow).url, tmp_path / "f")
    part = tmp_path / "f.part"
    while not part.exists() and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert os.listdir(tmp_path) == ["f.part"]
    fetch(serve(ranges).url, tmp_path / "f", WANTED)
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="locks folders as POSIX does")
def test_two_processes_fetch_a_file_once(tmp_path, serve):
    def slow(request, start):
        request.head(Content_Length=len(CONTENT))
        for k in range(0, len(CONTENT), 1 << 16):
            request.wfile.write(CONTENT[k : k + (1 << 16)])
            time.sleep(0.05)

    server = serve(slow)
    both = [run(server.url, tmp_path / "f") for _ in range(2)]
    assert [process.communicate() for process in both] == [(b"", b"")] * 2
    assert server.starts == [0]
    assert (tmp_path / "f").read_bytes() == CONTENT
