"""The border where a picture, a file or an object of Pillow, becomes numbers: one meaning whichever way it comes.

What would lose meaning is refused with the way out: ids are never averaged, converted by luma or read from lossy files,
colors never become one number a pixel, and samples of every depth keep what their format says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anymodal.errors import ValueProblem
from anymodal.families.picture_files import SOURCE, Source

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000"})
CUT = frozenset({"WEBP", "AVIF"})  # of 8 bits, in which Pillow cuts greater numbers (findings/pillow_wide_pictures.sh)
LARGEST_PROFILE = 4 * 1024**2  # bytes of a color profile that is looked at
USUAL_GAMMA, GAMMA_STEP = 1 / 2.2, 0.02  # of PNG files: what sRGB is taken for, and what makes no difference
ABOUT_COLORS = ("icc_profile", "gamma", "srgb")  # keys of `info`
DECODED = "was decoded elsewhere, where {}; pass its path, or the picture as Image.open gives it"


def is_picture(value: Any) -> bool:
    """Whether a value is a picture of Pillow, or behaves like one."""
    return hasattr(value, "getbands") and hasattr(value, "load")


def source_of(picture: Image) -> Source:
    """What the file of a picture from `upright` said of its samples."""
    found: Source = picture.info.get(SOURCE) or Source(picture.format)
    return found


def _whole(source: Source) -> None:
    """Raise ValueProblem for a file with further pictures, which would be passed over without a word."""
    if source.several:
        raise ValueProblem("it holds several pictures; save the one that counts, or pass its copy() by Pillow")


def ids_of(picture: Image) -> np.ndarray:
    """One whole number a pixel (H, W), as it was written: indices of a palette, gray levels of 1 to 32 bits.

    Three equal channels count as gray. Raises ValueProblem for colors, transparency, floats, lossy formats, palettes of
    GIF, several pictures in one file, and where nobody can tell any more what was written.
    """
    source = source_of(picture)
    if source.format in LOSSY:
        raise ValueProblem(f"a {source.format} file changes numbers by compression; save the map as PNG")
    _whole(source)
    if source.inverted:
        raise ValueProblem("its lowest number is white, which readers turn around or not; save the map as PNG")
    if source.format == "GIF" and picture.mode == "P":  # where palette and numbers agree, Pillow gives the mode L
        raise ValueProblem("a GIF file counts its colors anew when it is saved; save the map as PNG")
    if picture.mode in ("1", "L", "P") or picture.mode.startswith("I"):
        numbers = np.asarray(picture)
        return numbers.astype(np.uint8) if picture.mode == "1" else _unscaled(numbers, source)
    if picture.mode == "F":
        raise ValueProblem("it holds floats, not whole numbers; save the map as PNG of 8 or 16 bits")
    return _equal_channels(picture, "colors are not ids; save one number a pixel, as a gray or palette PNG")


def _unscaled(numbers: np.ndarray, source: Source) -> np.ndarray:
    """Numbers (H, W) as the file has them. Raises ValueProblem for those that may have been multiplied unseen."""
    if source.scale is None:
        scaled = source.format == "PPM" or not (numbers % 17).any()  # as samples of 2 and 4 bits are
        if scaled and numbers.any():
            raise ValueProblem("it " + DECODED.format("its numbers may have been multiplied"))
        return numbers
    return numbers if source.scale == 1 else np.rint(numbers / source.scale).astype(numbers.dtype)


def samples_of(picture: Image) -> tuple[np.ndarray, float | None]:
    """One channel (H, W), and the number that its highest sample is, or None for floats, which are taken as they are.

    Raises ValueProblem for colors, transparency, several pictures in one file, signed integers or those beyond 16 bits,
    whose range nobody states, and for what a file of 8 bits has left of one of 16.
    """
    source = source_of(picture)
    _whole(source)
    if source.format in CUT and all(channel.getextrema()[0] == 255 for channel in picture.split()):
        raise ValueProblem(f"all of it is 255, as {source.format} files cut maps of 16 bits; save it as 16-bit PNG")
    if picture.mode == "F":
        return np.asarray(picture), None
    if picture.mode.startswith("I"):
        numbers, top = np.asarray(picture), 65535 if source.top is None else source.top
        if source.inverted:
            raise ValueProblem("its lowest number is white, which readers turn around or not; save it as 16-bit PNG")
        if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) <= top:
            raise ValueProblem("it holds integers beyond 16 bits; save it as 16-bit PNG, or as .npy in natural units")
        return numbers, float(top or 65535)
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
        return np.asarray(_in_srgb(_gray(gray, picture.info))) if photographic else np.repeat(gray[..., None], 3, 2)
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
    plain.info |= {key: picture.info[key] for key in ABOUT_COLORS if key in picture.info}
    return plain


def _over_white(picture: Image, alpha: Image) -> Image:
    from PIL import Image

    return Image.composite(picture, Image.new("RGB", picture.size, (255, 255, 255)), alpha)


def _gray(samples: np.ndarray, info: dict[Any, Any]) -> Image:
    """Gray samples (H, W) uint8 as a picture with what `info` says of colors."""
    from PIL import Image

    gray = Image.fromarray(samples)
    gray.info |= {key: info[key] for key in ABOUT_COLORS if key in info}
    return gray


def _in_srgb(picture: Image) -> Image:
    """The picture in sRGB by its color profile; a damaged one, or one of other channels, is passed over.

    Without a profile, the exponent counts that a PNG states (PNG specification, third edition, section 13.13).
    """
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 0 < len(profile) <= LARGEST_PROFILE:
        return _by_gamma(_rgb(picture), picture.info)
    import io

    from PIL import ImageCms

    source = picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else _rgb(picture)
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(source, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _rgb(picture)
    return converted or _rgb(picture)


def _by_gamma(picture: Image, info: dict[Any, Any]) -> Image:
    """The picture in sRGB by the exponent of encoding that its file states, if it is another than the usual one."""
    gamma = info.get("gamma")
    if "srgb" in info or not isinstance(gamma, float) or not 0.1 <= gamma <= 10:
        return picture
    if abs(gamma - USUAL_GAMMA) <= GAMMA_STEP:
        return picture
    light = np.linspace(0, 1, 256) ** (1 / gamma)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    return picture.point(np.rint(shown * 255).astype(int).tolist() * 3)


def _rgb(picture: Image) -> Image:
    try:
        return picture.convert("RGB")
    except ValueError:
        raise ValueProblem(f"pictures of the mode {picture.mode} are not read; save it as RGB or gray") from None


def _equal_channels(picture: Image, otherwise: str) -> np.ndarray:
    """The first of color channels that are all the same (H, W). Raises ValueProblem for others and transparency."""
    scale = source_of(picture).scale
    if scale is None:
        raise ValueProblem("it " + DECODED.format("its samples may have lost bits"))
    if scale == 256:
        raise ValueProblem("its samples of 16 bits lose 8 beside others; save it as gray, without alpha")
    if has_transparency(picture) and picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ValueProblem("it has transparent parts, which have no meaning here; save it without alpha")
    channels = np.asarray(_rgb(picture))
    if (channels != channels[..., :1]).any():
        raise ValueProblem(otherwise)
    return channels[..., 0]
