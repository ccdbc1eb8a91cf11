"""People as bodies in a picture: limbs with the widths of a body around the joints of a skeleton."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
else:
    from anymodal.lazy import np

LEFT, RIGHT, TRUNK, EDGE = (240, 120, 60), (60, 140, 235), (226, 222, 205), (28, 28, 34)
SMOOTH, COVER = 3, 225  # times as fine as the picture; opacity of 255
# Joints of SMPL from which a limb goes and where to, and its widths there in units of the longest of the spine and the
# thighs; what lies below comes first.
LIMBS = (
    (LEFT, 1, 4, 0.36, 0.24), (RIGHT, 2, 5, 0.36, 0.24), (LEFT, 4, 7, 0.24, 0.15), (RIGHT, 5, 8, 0.24, 0.15),
    (LEFT, 7, 10, 0.15, 0.13), (RIGHT, 8, 11, 0.15, 0.13), (TRUNK, 9, 12, 0.3, 0.17),
)  # fmt: skip
ARMS = (
    (LEFT, 16, 18, 0.22, 0.17), (RIGHT, 17, 19, 0.22, 0.17), (LEFT, 18, 20, 0.17, 0.11), (RIGHT, 19, 21, 0.17, 0.11),
    (LEFT, 20, 22, 0.12, 0.12), (RIGHT, 21, 23, 0.12, 0.12),
)  # fmt: skip
HIPS, SHOULDERS, NECK, HEAD = (1, 2), (16, 17), 12, 15


def draw_body(canvas: "Image", joints: "np.ndarray") -> None:
    """Draw a person into a picture, left limbs warm and right ones cool; joints (24, 2) in its pixels, as SMPL's."""
    from PIL import Image, ImageDraw

    unit = SMOOTH * max(float(np.linalg.norm(joints[a] - joints[b])) for a, b in ((0, NECK), (1, 4), (2, 5)))
    rim = max(SMOOTH * 0.75, 0.02 * unit)
    left, top, right, bottom = _around(joints, (unit + 2 * rim) / SMOOTH, canvas.size)
    if left >= right or top >= bottom:
        return
    layer = Image.new("RGBA", ((right - left) * SMOOTH, (bottom - top) * SMOOTH))
    draw, points = ImageDraw.Draw(layer), (joints - (left, top)) * SMOOTH
    for limb in LIMBS:
        draw_limb(draw, points, limb, unit, rim)
    corners = [points[k] for k in (*SHOULDERS, *reversed(HIPS))]
    middle = np.mean(corners, 0)
    trunk = [tuple(middle + (corner - middle) * 1.12) for corner in corners]
    draw.polygon(trunk, (*TRUNK, COVER))
    draw.line([*trunk, trunk[0]], (*TRUNK, COVER), max(1, round(0.14 * unit)), joint="curve")
    for limb in ARMS:
        draw_limb(draw, points, limb, unit, rim)
    head = points[HEAD] + (points[HEAD] - points[NECK]) * 0.5
    draw.circle(tuple(head), 0.2 * unit + rim, (*EDGE, COVER))
    draw.circle(tuple(head), 0.2 * unit, (*TRUNK, COVER))
    layer = layer.resize((right - left, bottom - top), Image.Resampling.BOX)
    canvas.paste(layer, (left, top), layer)


def _around(joints: "np.ndarray", reach: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels (left, top, right, bottom) of a picture that a body covers, which are few where people are many."""
    points = np.concatenate([joints, joints[HEAD] + (joints[HEAD] - joints[NECK])[None] * 0.5])
    low = np.floor((points.min(0) - reach).clip(0, size)).astype(int)
    high = np.ceil((points.max(0) + reach).clip(0, size)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def draw_limb(
    draw: "ImageDraw",
    points: "np.ndarray",
    limb: tuple[tuple[int, int, int], int, int, float, float],
    unit: float,
    rim: float,
) -> None:
    """Draw a limb that grows thinner from one joint to another, with a dark rim."""
    color, first, last, thick, thin = limb
    for shade, more in ((EDGE, rim), (color, 0.0)):
        ends: Sequence[tuple[np.ndarray, float]] = [
            (points[first], thick * unit / 2 + more),
            (points[last], thin * unit / 2 + more),
        ]
        along = points[last] - points[first]
        across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
        sides = [tuple(end + sign * across * radius) for sign in (1, -1) for end, radius in ends[:: int(sign)]]
        draw.polygon(sides, (*shade, COVER))
        for end, radius in ends:
            draw.circle(tuple(end), radius, (*shade, COVER))
