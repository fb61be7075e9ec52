"""Memory of large arrays: kept in the process when they are freed, for those of the next step."""

from __future__ import annotations

from .arguments import whole_number

__all__ = ["reuse_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # what mallopt sets, by glibc's malloc.h
LOWER_LIMIT = 32 * 2**20  # what every glibc of 64 bits takes for the latter; newer ones take more


def reuse_memory(size: int = 2**30) -> bool:
    """Keep freed memory in this process, up to `size` bytes, so that the arrays of the next step are made in it.

    The C library of Linux, glibc, gives the memory of large arrays back to the system when they are freed, and fetches
    it anew, page by page, for the next ones. Operation by operation that can take longer than the arithmetic. This sets
    the two thresholds by which it decides; they hold for the whole process, whoever allocates, and until it ends. So
    the library never does it by itself, and the commands of ``tinygraph`` do: call it at the start of a program of
    your own. Compiled functions reuse their memory in any case.

    Parameters
    ----------
    size : int
        How many free bytes are kept at most, from 1 to 2**31 - 1. Larger arrays go back to the system; with some
        versions of glibc arrays above 32 MiB do.

    Returns
    -------
    bool
        Whether it is so from now on; False where another C library allocates (on macOS, Windows, Alpine Linux), and
        nothing is changed there.

    Raises
    ------
    ArgumentError
        If `size` is no such number.

    Notes
    -----
    It is ``mallopt`` with ``M_MMAP_THRESHOLD`` and ``M_TRIM_THRESHOLD``. The variables ``MALLOC_MMAP_THRESHOLD_`` and
    ``MALLOC_TRIM_THRESHOLD_`` do the same for a program that cannot be changed.
    """
    size = whole_number("reuse_memory: size", size, 1, 2**31)
    try:
        import ctypes  # a Python may have been built without it

        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 -- others have a mallopt that takes other numbers
        mallopt = library.mallopt
    except (ImportError, OSError, TypeError, AttributeError):  # on Windows, a TypeError: no library is called None
        return False
    keeps = mallopt(M_MMAP_THRESHOLD, size) or mallopt(M_MMAP_THRESHOLD, min(size, LOWER_LIMIT))
    return bool(keeps and mallopt(M_TRIM_THRESHOLD, size))
