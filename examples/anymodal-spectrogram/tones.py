"""Sounds from a seed: two tones that rise or fall, one after the other."""

import sys
from pathlib import Path

import numpy as np

import anymodal as am


def sound(rng: np.random.Generator, samples: int = 4096, rate: float = 8000.0) -> np.ndarray:
    """Tones (samples,) float32 from 200 to 3500 Hz, which rise or fall by up to an octave; -1 to 1."""
    parts = []
    for count in (samples // 2, samples - samples // 2):
        start = rng.uniform(200, 1750)
        pitch = start * 2.0 ** (rng.uniform(-1, 1) * np.linspace(0, 1, count))
        parts.append(rng.uniform(0.2, 0.9) * np.sin(2 * np.pi * np.cumsum(pitch) / rate))
    return np.concatenate(parts).astype(np.float32)


count, seed, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
waveform = am.registry().modality("waveform")()
for index in range(count):
    waveform.write(sound(np.random.default_rng([seed, index])), out / "waveform" / f"{index:06}.npy")
