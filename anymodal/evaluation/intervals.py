"""Intervals of means over seeds, splits or sets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Half the width of the 95 % interval of a mean, in standard errors, by degrees of freedom from 1 on (Student's t).
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def half_width(values: Sequence[float] | np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean of values (n,); infinite for one, rather too wide beyond ten."""
    if len(values) < 2:
        return math.inf
    return T95[min(len(values) - 2, len(T95) - 1)] * float(np.std(values, ddof=1)) / len(values) ** 0.5
