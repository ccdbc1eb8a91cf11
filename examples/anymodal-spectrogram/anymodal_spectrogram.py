"""Sound as a waveform, and as the spectrogram that follows from it."""

from typing import TYPE_CHECKING, Any

from anymodal import SignalModality

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class Waveform(SignalModality):
    """Sound pressure: float32 arrays (samples,), -1 to 1 of full scale, 8000 samples a second."""

    shape, cell, codebook = (4096,), (64,), 256
    rate, low, high = 8000.0, -1.0, 1.0


class Spectrogram(SignalModality):
    """Short-time Fourier magnitudes: float32 arrays (frequencies, frames), -80 to 0 dB of full scale."""

    shape, cell, codebook = (32, 128), (8, 8), 256
    rate, low, high, unit = 8000.0 / 32, -80.0, 0.0, "dB"
    derived_from = ("waveform",)
    silence = -80.0

    def derive(self, values: dict[str, Any]) -> "np.ndarray":
        """Hann-windowed frames of twice as many samples as there are frequencies, each half a frame after the last."""
        sound, count = values["waveform"], 2 * self.shape[0]
        padded = np.pad(sound, (count // 4, count - count // 4))
        frames = np.lib.stride_tricks.sliding_window_view(padded, count)[: len(sound) : count // 2]
        magnitudes = np.abs(np.fft.rfft(frames * np.hanning(count)))[:, :-1] * 4 / count
        decibels = 20 * np.log10(np.maximum(magnitudes, 1e-4))
        return np.ascontiguousarray(decibels.T.clip(self.low, self.high), np.float32)
