"""What tests of the command line do with it, given the fixture `tinygraph`."""

import json
from pathlib import Path

import numpy as np


def train(tinygraph, *arguments, out="r"):
    """Train into a folder; return the lines for the terminal and the results written."""
    status, said, err = tinygraph("train", *arguments, "--out", out)
    assert (status, err) == (0, "")
    return said.splitlines(), json.loads(Path(out, "run.json").read_text())["results"]


def predict(tinygraph, rows, folder="r"):
    """Return the names of the columns and the numbers of a prediction for `rows`."""
    np.save("in.npy", rows)
    status, said, err = tinygraph("predict", folder, "in.npy")
    assert (status, err) == (0, "")
    names, *lines = said.splitlines()
    return names.split(","), np.array([[float(v) for v in line.split(",")] for line in lines])
