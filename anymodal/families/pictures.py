"""The border where a picture, a file or an object of Pillow, becomes numbers: one meaning whichever way it comes.

What would lose meaning is refused with the way out: ids are never averaged, converted by luma or read from lossy files,
colors never become one number a pixel, and samples of every depth keep what their format says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anymodal.errors import ValueProblem
from anymodal.files import SAMPLE_SCALE, SOURCE_FORMAT

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000"})
LARGEST_PROFILE = 4 * 1024**2  # bytes of a color profile that is looked at


def is_picture(value: Any) -> bool:
    """Whether a value is a picture of Pillow, or behaves like one."""
    return hasattr(value, "getbands") and hasattr(value, "load")


def ids_of(picture: Image) -> np.ndarray:
    """One whole number a pixel (H, W), as it was written: indices of a palette, gray levels of 1 to 32 bits.

    Three equal channels count as gray. Raises ValueProblem for colors, transparency, floats and lossy formats.
    """
    source = picture.info.get(SOURCE_FORMAT, picture.format)
    if source in LOSSY:
        raise ValueProblem(f"a {source} file changes numbers by compression; save the map as PNG")
    if picture.mode in ("1", "L", "P") or picture.mode.startswith("I"):
        numbers = np.asarray(picture)
        if picture.mode == "1":
            return numbers.astype(np.uint8)
        scale = picture.info.get(SAMPLE_SCALE, 1)
        return numbers if scale == 1 else np.rint(numbers / scale).astype(numbers.dtype)
    if picture.mode == "F":
        raise ValueProblem("it holds floats, not whole numbers; save the map as PNG of 8 or 16 bits")
    return _equal_channels(picture, "colors are not ids; save one number a pixel, as a gray or palette PNG")


def samples_of(picture: Image) -> tuple[np.ndarray, float | None]:
    """One channel (H, W), and the number that its highest sample is, or None for floats, which are taken as they are.

    Raises ValueProblem for colors, transparency, and integers beyond 16 bits, whose range nobody states.
    """
    if picture.mode == "F":
        return np.asarray(picture), None
    if picture.mode.startswith("I"):
        numbers = np.asarray(picture)
        if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) <= 65535:
            raise ValueProblem("it holds integers beyond 16 bits; save it as 16-bit PNG, or as .npy in natural units")
        return numbers, 65535.0
    if picture.mode == "L":
        return np.asarray(picture), 255.0
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8), 1.0
    return _equal_channels(picture, "colors do not say one number a pixel; save it as gray, or as .npy"), 255.0


def colors_of(picture: Image, photographic: bool) -> np.ndarray:
    """Three channels (H, W, 3) uint8: sRGB where the picture is a photograph, else the samples as they are.

    Of photographs, gray of every depth becomes three equal channels, color profiles are applied, and what is
    transparent lies over white. Raises ValueProblem for floats, and of others for gray and transparency.
    """
    if not photographic and len(picture.getbands()) < 3 and picture.mode not in ("P", "PA"):
        raise ValueProblem(f"it has one channel (mode {picture.mode}) where three are needed")
    if picture.mode == "F" or picture.mode.startswith("I"):
        samples, top = samples_of(picture)
        if top is None:
            raise ValueProblem("it holds floats, whose white nobody states; save it with 8 or 16 bits a channel")
        gray = np.rint(samples * (255.0 / top)).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if has_transparency(picture):
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            if not photographic:
                raise ValueProblem("it has transparent parts, which have no meaning here; save it without alpha")
            return np.asarray(_over_white(_in_srgb(_opaque(picture)), alpha))
        picture = _opaque(picture)
    return np.asarray(_in_srgb(picture) if photographic else _rgb(picture))


def has_transparency(picture: Image) -> bool:
    """Whether some pixels may be transparent: by an alpha channel, or by a color that stands for nothing."""
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def _opaque(picture: Image) -> Image:
    """The colors of a picture without its alpha, with its color profile."""
    plain = picture.convert("L") if picture.mode in ("LA", "La") else picture.convert("RGBA").convert("RGB")
    plain.info.pop("transparency", None)
    if "icc_profile" in picture.info:
        plain.info["icc_profile"] = picture.info["icc_profile"]
    return plain


def _over_white(picture: Image, alpha: Image) -> Image:
    from PIL import Image

    return Image.composite(picture, Image.new("RGB", picture.size, (255, 255, 255)), alpha)


def _in_srgb(picture: Image) -> Image:
    """The picture in sRGB by its color profile; a damaged one, or one of other channels, is passed over."""
    profile = picture.info.get("icc_profile")
    if not profile or len(profile) > LARGEST_PROFILE:
        return _rgb(picture)
    import io

    from PIL import ImageCms

    source = picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else _rgb(picture)
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(source, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _rgb(picture)
    return converted or _rgb(picture)


def _rgb(picture: Image) -> Image:
    try:
        return picture.convert("RGB")
    except ValueError:
        raise ValueProblem(f"pictures of the mode {picture.mode} are not read; save it as RGB or gray") from None


def _equal_channels(picture: Image, otherwise: str) -> np.ndarray:
    """The first of color channels that are all the same (H, W). Raises ValueProblem for others and transparency."""
    if picture.info.get(SAMPLE_SCALE, 1) == 256:
        raise ValueProblem("its samples of 16 bits lose 8 beside an alpha channel; save it without alpha")
    if has_transparency(picture) and picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ValueProblem("it has transparent parts, which have no meaning here; save it without alpha")
    channels = np.asarray(_rgb(picture))
    if (channels != channels[..., :1]).any():
        raise ValueProblem(otherwise)
    return channels[..., 0]
