"""Where files of the larger data sets are, if they are there."""

import os
from pathlib import Path

SHARED = Path(os.environ.get("TINYGRAPH_DATA_DIR") or Path(__file__).resolve().parents[2] / "shared" / "data")
