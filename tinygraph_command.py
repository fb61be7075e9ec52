"""How the command ``tinygraph`` starts: Ctrl-C ends it in one line while it still imports.

It stands beside the package, since importing anything inside takes NumPy with it.
"""

import os
import signal
from contextlib import suppress
from typing import Any


def _leave(number: int, frame: Any) -> None:
    """End the process at once: nothing has begun, and an exception may be caught by what is being imported."""
    with suppress(OSError):  # there may be no standard error
        os.write(2, b"tinygraph: stopped\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line, see `tinygraph.tools.cli`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from tinygraph.tools.cli import main as run

    run()
