"""All that needs a GPU, in one command: ``python -m tinygraph.tools.gpu_report``, in a clone.

It goes through the ten steps of `gpu_steps`, runs the tests marked `gpu` and the benchmark on the device; and writes
``gpu_report.json`` and ``gpu_report.md`` after each, with all that there is by then.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tinygraph.backend import get_backend
from tinygraph.errors import TinygraphError
from tinygraph.files import write_file
from tinygraph.tools import gpu_steps
from tinygraph.tools.bench import measure, report
from tinygraph.tools.bench.contenders import CONTENDERS, OWN
from tinygraph.tools.bench.workloads import WORKLOADS

TESTS_SECONDS, BENCH_SECONDS = 200.0, 220.0
LAST_WORDS = 20.0  # seconds that tests which were interrupted have to say how far they came
PATIENCE = 45.0  # seconds that a contender may take to compile

Say = Callable[[str], None]


def run_tests(seconds: float, chosen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run the tests marked `gpu`; return how they ended, or how far they came in so many seconds.

    Parameters
    ----------
    seconds : float
    chosen : tuple of str
        Arguments of pytest, by default none: all tests.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "--tb=short",
        "--durations=5",
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
    ]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        running = subprocess.Popen([*command, *chosen], stdout=said, stderr=subprocess.STDOUT)
        try:
            running.wait(seconds)
            late = ""
        except subprocess.TimeoutExpired:
            late = f"not finished within {seconds:.0f} s: "
            running.send_signal(signal.SIGINT)
            try:
                running.wait(LAST_WORDS)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        said.seek(0)
        output = said.read()
    lines = output.strip().splitlines() or [""]
    results = [line.split()[1] for line in lines if "::" in line and len(line.split()) > 1]
    passed, failures = results.count("PASSED"), results.count("FAILED") + results.count("ERROR")
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if not failed:  # the summary was not reached
        failed = [line for line in lines if "::" in line and line.split()[1:2] in (["FAILED"], ["ERROR"])]
    summary = f"{late}{passed} passed, {failures} failed" if late else lines[-1].strip("= ")
    return {"status": None if late else running.returncode, "summary": summary, "failed": failed, "output": output}


def benchmark(seconds: float, say: Say) -> Iterator[measure.Result]:
    """Yield the measurements of the workloads, as many as the time allows."""
    names = [name for name, contender in CONTENDERS.items() if contender.on_gpu]
    end = time.monotonic() + seconds
    for workload in WORKLOADS.values():
        if time.monotonic() > end:
            say(f"{workload.name}: left out, the time is up")
            continue
        yield measure.run(
            workload, names, rounds=10, seconds=0.6, threads=None, say=say, device=measure.GPU, patience=PATIENCE
        )


def markdown(facts: dict[str, Any], results: list[measure.Result]) -> str:
    """Return the report as a page, of what there is: the steps, the tests, a table of the benchmark."""
    lines = [f"# On {facts['environment']['device']}", ""]
    if facts.get("steps"):
        lines += ["| step | must show | found | |", "| --- | --- | --- | --- |"]
        for step in facts["steps"]:
            mark = {True: "ok", False: "NOT", None: "not run"}[step["ok"]]
            cells = [" ".join(str(step[name]).replace("|", "/").split()) for name in ("name", "shows", "found")]
            lines.append(f"| {' | '.join(cells)} | {mark} |")
        lines.append("")
    if "tests" in facts:
        lines += [f"Tests marked `gpu`: {facts['tests']['summary']}.", ""]
        lines += [f"- `{line}`" for line in facts["tests"]["failed"]]
        lines += [""] * bool(facts["tests"]["failed"])
    names = [name for name in CONTENDERS if any(name in r.medians for r in results)]
    if results:
        lines += ["| workload | " + " | ".join(CONTENDERS[n].title for n in names) + " | to the best peer |"]
        lines += ["| --- |" + " ---: |" * (len(names) + 1)]
    for r in results:
        cells = [report.duration(r.medians[n]) if n in r.medians else "-" for n in names]
        best = f"{r.ratios[r.best_peer]:.2f}" if r.best_peer and OWN in r.medians else "-"
        lines.append(f"| {r.workload.title} | {' | '.join(cells)} | {best} |")
    return "\n".join(lines).rstrip() + "\n"


def main(
    out: Annotated[Path, typer.Option(help="Folder for gpu_report.json and gpu_report.md.")] = Path("gpu_report"),
    no_tests: Annotated[bool, typer.Option("--no-tests", help="Leave the tests out.")] = False,
    tests_only: Annotated[bool, typer.Option("--tests-only", help="Run the tests and nothing else.")] = False,
) -> None:
    """Run everything that needs a GPU and write what was found."""
    if no_tests and tests_only:
        typer.echo("gpu_report: --no-tests and --tests-only leave nothing to run; give one of them", err=True)
        raise typer.Exit(2)
    try:
        get_backend("cupy")
    except TinygraphError as error:
        typer.echo(f"gpu_report: {error}", err=True)
        raise typer.Exit(2) from None
    out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"environment": report.environment(CONTENDERS, measure.GPU)}
    results: list[measure.Result] = []

    def save() -> None:
        write_file(out / "gpu_report.json", report.as_json(results, facts))
        write_file(out / "gpu_report.md", markdown(facts, results).encode())

    if not tests_only:
        facts["steps"] = []
        for name in gpu_steps.STEPS:
            if no_tests and name == "quick tests":
                continue
            step = gpu_steps.in_a_process(name)
            facts["steps"].append(asdict(step))
            save()
            typer.echo(f"{name}: {step.found}" + ("" if step.ok else f"; expected: {step.shows}"))
    if not no_tests:
        facts["tests"] = run_tests(TESTS_SECONDS)
        save()
        typer.echo("\n".join([facts["tests"]["summary"], *facts["tests"]["failed"]]))
    if not tests_only:
        for result in benchmark(BENCH_SECONDS, typer.echo):
            results.append(result)
            save()
            for line in report.table(result):
                typer.echo(line)
    typer.echo((out / "gpu_report.md").read_text())


if __name__ == "__main__":
    typer.run(main)
