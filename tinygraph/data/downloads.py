"""Downloads: over https, as large as published, at some speed, and taken up again where they were cut off."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import DataError
from .opening import CHUNK, contents, one_line, opened, reading, sum_of

if TYPE_CHECKING:
    import requests

LARGEST = 1 << 30  # bytes, of a file whose size is not published
PATIENCE = 20.0  # seconds, in which
LEAST = 200_000  # bytes are to come
PARTIAL, NO_SUCH_PART = 206, 416  # the status of an answer with the part that was asked for, or without
REDIRECTIONS = 8
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Download:
    """A file to download: its name, its published MD5 sum and the folders it lies in, tried in turn.

    Without mirrors it can only be put into place by hand. `size` is that of the file in bytes, 0 if it is not known;
    `unpacked` the sum of what is in it, empty if it is not known.
    """

    file: str
    md5: str = ""
    mirrors: tuple[str, ...] = ()
    size: int = 0
    unpacked: str = ""

    def sums(self, path: Path) -> tuple[str, str] | None:
        """Return the sum of `path`, compressed or not, and the published one; None if these cannot be compared.

        The sum of what is in the file counts where it is known, so a file packed anew is the same. Without it nothing
        can be told of a file that was unpacked.
        """
        with reading(path), contents(path) as content:
            if self.md5 and content.compressed:
                got = _sum_of_file(path)
                if got == self.md5 or not self.unpacked:
                    return got, self.md5
            if self.unpacked:
                return sum_of(content.chunks()), self.unpacked
        return None

    def require(self, path: Path) -> None:
        """Raise an error unless `path`, as large as what is published, is that.

        Raises
        ------
        DataError
            If a bit of it differs.
        """
        sums = self.sums(path)
        if sums is not None and sums[0] != sums[1]:
            raise DataError(
                f"{path}: not the published file (MD5 sum {sums[0]}, published is {sums[1]}); get {self.file} again"
            )


def _sum_of_file(path: Path) -> str:
    with opened(path) as file:
        return sum_of(iter(lambda: file.read(CHUNK), b""))


def fetch(url: str, path: Path, wanted: Download) -> None:
    """Put the file at `url` to `path`, unless the published file is there.

    What has come so far stands beside it, with the ending .part, until its sum is that of the published file; a
    download that was cut off goes on from there. Where the system can lock a folder, two processes do not fetch
    into the same one at the same time.

    Raises
    ------
    OSError
        If there is no connection, the address is not https, the server refuses, sends another number of bytes than
        published, less than 200 kB in 20 seconds, or another file; or if `path` cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(path.parent):
        if path.is_file() and not _difference(path, wanted):
            return
        importlib.import_module("requests")  # or whoever lacks it is told before anything begins
        part = path.with_name(path.name + ".part")
        resumed = part.is_file()
        _transfer(url, part, wanted.size)
        difference = _difference(part, wanted)
        if difference and resumed:  # what was there may have been of another file
            part.unlink()
            _transfer(url, part, wanted.size)
            difference = _difference(part, wanted)
        if difference:
            part.unlink()
            raise OSError(difference)
        os.replace(part, path)


def _difference(path: Path, wanted: Download) -> str:
    got = _sum_of_file(path)
    return "" if got == wanted.md5 else f"MD5 sum {got}, published is {wanted.md5}"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in a block of this kind for the same folder."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _transfer(url: str, part: Path, size: int) -> None:
    """Append to `part` what it lacks of the file at `url`, or write it anew where the server sends it whole."""
    with part.open("ab") as file:
        came = file.tell()
        if size and came >= size:
            return  # complete, or of something else: the sum tells
        for chunk in _arrivals(url, came):
            if chunk is None:
                came = file.seek(0)
                file.truncate()
                continue
            file.write(chunk)
            came += len(chunk)
            if came > (size or LARGEST):
                raise OSError(f"more than {size or LARGEST:,} bytes came")
        if size and came < size:
            raise OSError(f"{came:,} of {size:,} bytes came")
        file.flush()
        os.fsync(file.fileno())


def _arrivals(url: str, start: int) -> Iterator[bytes | None]:
    """Yield what the server sends from byte `start` on; None before the whole file, if it sends that."""
    arrived: SimpleQueue[bytes | Exception | None] = SimpleQueue()
    stopped = Event()
    # A thread waits for the server, so that whatever keeps it waiting, the speed is seen here.
    Thread(target=_receive, args=(url, start, arrived, stopped), daemon=True).start()
    came, deadline = 0, monotonic() + PATIENCE
    try:
        while True:
            try:
                item = arrived.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                if came < LEAST:
                    raise OSError(f"fewer than {LEAST:,} bytes came in {PATIENCE:g} seconds") from None
                came, deadline = 0, monotonic() + PATIENCE
                continue
            if isinstance(item, Exception):
                raise OSError(one_line(item))
            if item == b"":
                return
            came += len(item or b"")
            yield item
    finally:
        stopped.set()


def _receive(url: str, start: int, arrived: SimpleQueue[bytes | Exception | None], stopped: Event) -> None:
    """Put into `arrived` what `_arrivals` yields, then no bytes, or the exception that ended it."""
    try:
        response = _get(url, {"Range": f"bytes={start}-"} if start else {})
        if start and response.status_code == NO_SUCH_PART:
            response.close()
            response = _get(url, {})
        with response:
            response.raise_for_status()
            if start and response.status_code != PARTIAL:
                arrived.put(None)
            for chunk in response.raw.stream(1 << 14, decode_content=False):
                if stopped.is_set():
                    return
                arrived.put(chunk)
        arrived.put(b"")
    except Exception as error:  # told where the download was asked for
        arrived.put(error)


def _get(url: str, headers: dict[str, str]) -> requests.Response:
    """Return the server's answer, its body still to be read, having followed redirections to https only."""
    import requests  # slow to import, for few

    for _ in range(REDIRECTIONS):
        address = urlsplit(url)
        if address.scheme != "https" and address.hostname not in THIS_MACHINE:
            raise OSError(f"the address is not https: {url}")
        response = requests.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            timeout=PATIENCE,
            allow_redirects=False,
        )
        if response.next is None or response.next.url is None:
            return response
        url = response.next.url
        response.close()
    raise OSError(f"more than {REDIRECTIONS} redirections")
