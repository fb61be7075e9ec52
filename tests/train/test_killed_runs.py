"""Runs killed by SIGKILL, in the middle of epochs and of writes, end with the bits of one never interrupted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.host, pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its runs by fork")]


def killed(optimizer, kills, *options):
    program = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, program, optimizer, "--kills", str(kills), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return json.loads(done.stdout)


def test_a_run_that_is_killed_a_few_times():
    found = killed("adam", 4)
    assert (found["kills"], found["same"], found["leftovers"]) == (4, True, [])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("options", [(), ("--compiled",)])
def test_a_run_that_is_killed_at_twenty_moments(optimizer, options):
    found = killed(optimizer, 20, "--seed", "7", *options)
    assert (found["kills"], found["same"], found["leftovers"]) == (20, True, [])
    assert found["in_epoch"] >= 10
    assert found["in_write"] >= 3
