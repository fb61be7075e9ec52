"""The benchmark on a busy machine: processes that compute all the time, and end for certain."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinygraph.errors import ArgumentError, TinygraphError
from tinygraph.tools.bench import measure, processes
from tinygraph.tools.bench.processes import busy_processes
from tinygraph.tools.bench.workloads import WORKLOADS

pytestmark = [pytest.mark.host, pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")]


def stat(pid):
    """What /proc tells of a process that has not ended: its state, its parent, ...; None of others."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def computing(parent):
    """The busy processes that a process has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        fields = stat(place.name)
        if fields and int(fields[1]) == parent and b"tinygraph.tools.bench.busy" in (place / "cmdline").read_bytes():
            found.append(int(place.name))
    return found


def until(condition):
    """Wait until it holds, a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_they_compute_all_the_time_at_the_same_priority():
    with busy_processes(2):
        pids = computing(os.getpid())
        assert len(pids) == 2
        for pid in pids:
            before = stat(pid)
            assert int(before[16]) == os.nice(0)
            until(lambda pid=pid, before=before: int(stat(pid)[11]) >= int(before[11]) + 3)  # ticks of its own time
    assert computing(os.getpid()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_error_ends_them(error):
    with pytest.raises(error), busy_processes(1):
        assert len(computing(os.getpid())) == 1
        raise error
    assert computing(os.getpid()) == []


def test_none_are_none():
    with busy_processes(0):
        assert computing(os.getpid()) == []


def test_those_of_a_process_that_is_killed_end_by_themselves():
    code = """
import time
from tinygraph.tools.bench.processes import busy_processes
with busy_processes(2):
    print(flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        parent.stdout.readline()
        pids = computing(parent.pid)
        parent.kill()
    assert len(pids) == 2
    until(lambda: not any(stat(pid) for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_that_is_stopped_ends_them(number, tmp_path):
    command = [sys.executable, "-m", "tinygraph.tools.cli", "bench", "--workload", "overhead", "--peer", "numpy"]
    command += ["--busy", "1", "--rounds", "1000", "--seconds", "600", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        until(lambda: computing(parent.pid))
        pids = computing(parent.pid)
        parent.send_signal(number)
        _, said = parent.communicate()
    assert (parent.returncode, said.splitlines()[-1]) == (128 + number, "tinygraph: stopped")
    assert not any(stat(pid) for pid in pids)


def test_a_measurement_in_which_one_ended_does_not_count():
    text = "busy: one of 2 processes ended with status -9 during the measurement"
    with pytest.raises(TinygraphError, match=text), busy_processes(2):
        killed = computing(os.getpid())[0]
        os.kill(killed, signal.SIGKILL)
        os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)  # it has ended with all its threads
    assert computing(os.getpid()) == []


@pytest.mark.parametrize(("program", "text"), [("false", "ended with status 1"), ("/nowhere", "cannot start 3")])
def test_what_cannot_be_started_is_told(monkeypatch, program, text):
    monkeypatch.setattr(processes.sys, "executable", program)
    with pytest.raises(ArgumentError, match=f"busy: .*{text}.*; choose fewer"), busy_processes(3):
        pass


def test_they_are_there_before_the_first_contender_gets_ready_and_for_all(monkeypatch):
    counts = []

    class Watched(measure.Worker):
        def answer(self):
            counts.append(len(computing(os.getpid())))
            return super().answer()

    monkeypatch.setattr(measure, "Worker", Watched)
    peers = ["tinygraph", "numpy"]
    result = measure.run(WORKLOADS["overhead"], peers, rounds=2, seconds=0.01, threads=None, say=str, busy=2)
    assert counts == [2] * 6  # each gets ready and has two turns
    assert result.busy == 2
    assert result.blocks.keys() == {"tinygraph", "numpy"}
    assert computing(os.getpid()) == []


def test_the_command_says_so_and_writes_it(tmp_path):
    command = [sys.executable, "-m", "tinygraph.tools.cli", "bench", "--workload", "overhead", "--peer", "numpy"]
    command += ["--busy", "1", "--rounds", "1", "--seconds", "0.01", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "overhead: 4-8-8-2, B = 1, beside 1 busy process"
    facts = json.loads((tmp_path / "bench.json").read_text())
    assert (facts["settings"]["busy"], facts["workloads"][0]["busy"]) == (1, 1)
