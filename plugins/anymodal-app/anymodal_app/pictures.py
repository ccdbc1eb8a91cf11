"""Pictures for a page: PNG in data URLs."""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.errors import ValueProblem
from anymodal.families.picture_files import PICTURES, read_picture

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*;base64,")
DOUBT = (217, 70, 239)  # a color that few pictures have


def data_url(picture: Image) -> str:
    """A picture as a PNG in a data URL."""
    buffer = io.BytesIO()
    picture.save(buffer, "png", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def content_of(url: object, what: str) -> bytes:
    """What a data URL holds. Raises ValueProblem for what is none."""
    head = DATA.match(url) if isinstance(url, str) else None
    if head is None:
        raise ValueProblem(f"{what} is no data URL such as data:image/png;base64,...")
    try:
        return base64.b64decode(url[head.end() :], validate=True)  # type: ignore[index]
    except (binascii.Error, ValueError):
        raise ValueProblem(f"{what} is damaged: its data URL is not base64") from None


def check_side(path: Path, name: str, most: int) -> None:
    """Raise ValueProblem for a picture that is larger than allowed, before it is decoded."""
    from PIL import Image

    try:
        with Image.open(path, formats=PICTURES) as picture:
            size = picture.size
    except Exception:  # whoever reads the file says what is wrong with it
        return
    if max(size) > most:
        raise ValueProblem(f"{name} has {size[0]} x {size[1]} pixels, more than {most} on a side; make it smaller")


def mask_of(path: Path) -> np.ndarray:
    """What is white in a mask, bool (H, W). Raises ValueProblem."""
    return np.asarray(read_picture(path).convert("L")) > 127


def overlay(uncertainty: np.ndarray, size: int) -> Image:
    """Numbers (H, W) from 0 up as a veil over a picture, the denser the less sure."""
    from PIL import Image

    most = max(float(np.nanmax(uncertainty, initial=0.0)), 1e-12)
    alpha = (np.nan_to_num(uncertainty) / most * 230).clip(0, 255).astype(np.uint8)
    veil: Any = Image.new("RGBA", (alpha.shape[1], alpha.shape[0]), (*DOUBT, 0))
    veil.putalpha(Image.fromarray(alpha))
    return veil.resize((size, size), Image.Resampling.NEAREST)
