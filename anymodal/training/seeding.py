"""Random numbers of training are a function of seed, step and process, so that none of their state has to be stored."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(*numbers: int) -> None:
    """Start all global random generators from whole numbers of at least 0, such as seed, step and process.

    Zeros at the end change nothing: the first of several processes draws what a process alone does.
    """
    words = np.random.SeedSequence(numbers).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed((int(words[2]) << 32) + int(words[3]))
