"""What several seeds give: the mean of an error, and how much it differs between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percent(shares: Sequence[float]) -> str:
    """Return shares as a percentage in words: their mean and, where there are several, their standard deviation."""
    mean = f"{100 * np.mean(shares):.1f} %"
    return mean if len(shares) < 2 else f"{mean} (standard deviation {100 * np.std(shares, ddof=1):.1f})"
