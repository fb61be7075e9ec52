"""Every reader of files reads damaged ones: what comes is the contents or a DataError that names the file.

``TINYGRAPH_FUZZ=5000 python -m pytest tests/data/test_fuzzing.py -s`` reads 5,000 files by each reader, and other ones
with another ``TINYGRAPH_FUZZ_SEED``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
PROGRAM = Path(__file__).with_name("fuzz.py")
COUNT = int(os.environ.get("TINYGRAPH_FUZZ", "200"))
SEED = os.environ.get("TINYGRAPH_FUZZ_SEED", "65")
READERS = ["csv", "npy", "npz", "idx", "idx.gz", "mnist", "mnist.gz", "cifar", "cifar.bin.gz", "cifar.tar.gz"]
READERS += ["cora", "digits", "omniglot", "columns.tsv", "columns.npz", "images"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_told_or_read(reader):
    command = [sys.executable, "-W", "error", str(PROGRAM), reader, str(COUNT), SEED]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    print(f"\n{reader}: {run.stdout}", end="")
    came = json.loads(run.stdout)
    assert came["others"] == []
    assert came.get("lost", 0) == 0
    assert came["told"] > COUNT / 4  # most faults are seen
    assert came["told"] + came.get("same", 0) + came.get("other", 0) == COUNT
    assert came["grown"] < 100 << 20
