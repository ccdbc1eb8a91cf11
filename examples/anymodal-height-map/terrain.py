"""Islands from a seed: heights, and what they look like from above."""

import sys
from pathlib import Path

import numpy as np

import anymodal as am

WATER, SAND, GRASS, ROCK, SNOW = (30, 80, 150), (220, 205, 150), (80, 140, 60), (120, 110, 100), (245, 245, 250)


def heights(rng: np.random.Generator, size: int = 32) -> np.ndarray:
    """Smooth random ground (size, size), meters: noise whose amplitude falls with the square of its frequency."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    noise = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    ground = np.fft.irfft2(noise / np.maximum(frequency, 1 / size) ** 2 * (frequency > 0), s=(size, size))
    return (300 * ground / ground.std() + 150).clip(-100, 1000).astype(np.float32)


def picture(ground: np.ndarray) -> np.ndarray:
    """Colors (size, size, 3) by height, lit from the left."""
    colors = np.select(
        [ground[..., None] < limit for limit in (0, 40, 400, 700)], [WATER, SAND, GRASS, ROCK], default=SNOW
    )
    slope = np.where(ground > 0, np.gradient(ground, axis=1), 0)[..., None]
    return (colors * (1 + slope / 300).clip(0.5, 1.5)).clip(0, 255).astype(np.uint8)


count, seed, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
rgb, height_map = (am.registry().modality(name)() for name in ("rgb", "height_map"))
for index in range(count):
    ground = heights(np.random.default_rng([seed, index]))
    rgb.write(picture(ground), out / "rgb" / f"{index:06}.png")
    height_map.write(ground, out / "height_map" / f"{index:06}.png")
