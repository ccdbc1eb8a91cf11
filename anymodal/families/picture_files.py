"""Files of pictures, and what they say of their samples that Pillow does not keep once the pixels are there."""

from __future__ import annotations

import importlib
import io
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs

from anymodal.errors import ValueProblem
from anymodal.families.picture_damage import check_coverage, check_rows, pixel_data
from anymodal.files import MAX_BYTES, plain_file, said

if TYPE_CHECKING:
    from PIL.Image import Image

warnings.filterwarnings("ignore", module=r"PIL\.")  # of details of pictures that are damaged, while the pixels are not

MAX_PIXELS = 128 * 1024 * 1024
PNG_MARK = b"\x89PNG\r\n\x1a\n"
PICTURES = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")  # EPS runs programs
# What reads those that Pillow does not at first; all of its drivers take a tenth of a second to import.
DRIVERS = ("TiffImagePlugin", "WebPImagePlugin", "Jpeg2KImagePlugin", "AvifImagePlugin")
CODESTREAM, SAMPLES = b"\xff\x4f\xff\x51", 42  # of JPEG 2000: how it begins, and where it says bits and sign of samples
LARGEST_HEAD = 4 * 1024**2  # bytes before the codestream that are looked at
SOURCE = "anymodal:source"  # the key of `info` of pictures from `upright`
SCALED = ("L", "LA", "RGB", "RGBA", "I")  # modes whose numbers may be others than those of the file
BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, PLANES, SIGN = 258, 259, 262, 274, 284, 339  # tags of TIFF
LOSSY_TIFF = {6: "JPEG", 7: "JPEG", 34712: "JPEG2000", 50001: "WEBP", 34887: "LERC"}


@attrs.frozen
class Source:
    """What the file of a picture said of its samples.

    format: Pillow's name of the format, or of the lossy compression inside a TIFF; None of a picture without a file.
    scale: what Pillow multiplied samples by (256: it kept the high byte of 16 bits); None where that cannot be told
        any more, because the picture was decoded elsewhere.
    top: the number that stands for white, where the picture's mode does not say it; 0 where nobody states it.
    inverted: whether the lowest sample is white.
    several: whether the file holds further pictures.
    """

    format: str | None = None
    scale: float | None = 1
    top: int | None = None
    inverted: bool = False
    several: bool = False


def read_picture(path: Path) -> Image:
    """A decoded picture with its EXIF rotation applied. Raises ValueProblem for what is not one, or is too large.

    Text beside the pixels is not read, however long it is.
    """
    from PIL import Image, UnidentifiedImageError

    plain_file(path, MAX_BYTES)
    Image.preinit()
    for driver in DRIVERS:
        with suppress(ImportError):
            importlib.import_module(f"PIL.{driver}")
    formats = [each for each in PICTURES if each in Image.OPEN]
    try:
        try:
            with Image.open(path, formats=formats) as picture:
                return _upright(picture, str(path))
        except ValueError as error:
            if isinstance(error, ValueProblem) or (plain := _without_text(path)) is None:
                raise
            with Image.open(plain, formats=formats) as picture:
                return _upright(picture, str(path))
    except Image.DecompressionBombError:
        raise ValueProblem(_too_large(path, "too many pixels")) from None
    except UnidentifiedImageError:
        raise ValueProblem(f"{path} is not a picture that can be read (is it another kind of file?)") from None
    except ValueProblem:
        raise
    except Exception as error:  # decoders raise whatever damage leads them to
        raise ValueProblem(f"{path} cannot be decoded, it may be damaged or cut short: {said(error)}") from None


def upright(picture: Image) -> Image:
    """The decoded picture with its EXIF rotation applied, and what its file said of samples in `info[SOURCE]`.

    Raises ValueProblem for one that is too large or damaged, and where Pillow decodes other numbers than the file has.
    """
    try:
        return _upright(picture, "the picture")
    except ValueProblem:
        raise
    except Exception as error:  # decoders raise whatever damage leads them to
        raise ValueProblem(f"the picture cannot be decoded, it may be damaged or cut short: {said(error)}") from None


def _upright(picture: Image, name: str) -> Image:
    from PIL import ImageOps

    if picture.width * picture.height > MAX_PIXELS:
        raise ValueProblem(_too_large(name, f"{picture.width} x {picture.height} pixels"))
    source = picture.info.get(SOURCE) or _source(picture)
    check_coverage(picture, name)
    data = pixel_data(picture, name)
    _load(picture)
    check_rows(picture, data, name)
    turned = ImageOps.exif_transpose(picture)
    turned.info[SOURCE] = source
    return turned


def _load(picture: Any) -> None:
    """Decode a picture. Raises ValueProblem for a TIFF whose pixels Pillow mixes up."""
    if picture.format != "TIFF" or not hasattr(picture, "tag_v2"):
        picture.load()
        return
    tags, name = picture.tag_v2, getattr(picture, "filename", "")
    if getattr(picture, "map", None) is not None and _lies_on_its_side(name):
        raise ValueProblem(f"the turned picture of {name} was decoded with its rows mixed up; pass its path")
    if tags.get(PLANES) == 2 and max(_bits(picture)) > 8 and tags.get(COMPRESSION, 1) == 1:
        raise ValueProblem("its planes of 16 bits are not read right; save it with its channels side by side")
    if max(tags.get(SIGN, (1,))) == 2 and max(_bits(picture)) == 8:
        raise ValueProblem("its signed samples of 8 bits lose their sign; save them with 16 bits, or as .npy")
    picture.filename = ""  # from a name, Pillow maps plain pixels as if they lay in the file as they will be turned
    try:
        picture.load()
    finally:
        picture.filename = name


def _lies_on_its_side(name: str) -> bool:
    """Whether a TIFF that Pillow has mapped is turned by its orientation, which is not kept when it is decoded."""
    from PIL import Image

    side = False
    with suppress(Exception), Image.open(name, formats=["TIFF"]) as again:
        tags: Any = again.tag_v2  # type: ignore[attr-defined]
        side = tags.get(ORIENTATION, 1) > 4 and again.width != again.height
    return side


def _source(picture: Image) -> Source:
    if picture.format == "TIFF" and hasattr(picture, "tag_v2"):
        return _tiff_source(picture)
    scale: float | None = 1
    if picture.format in ("PNG", "PPM") and picture.mode in SCALED:
        scale = _scale(picture) if getattr(picture, "tile", None) else _scale_in_file(picture)
    top = _jpeg2000_top(picture) if picture.format == "JPEG2000" else None
    return Source(picture.format, scale, top, several=_has_several(picture))


def _jpeg2000_top(picture: Image) -> int | None:
    """The number that is white among those of a JPEG 2000, which Pillow moves up to 8 or 16 bits; None for all of them.

    Raises ValueProblem for samples with a sign, and for those of fewer than 8 bits, whose white Pillow makes gray.
    """
    head = _head(picture)
    start = head.find(CODESTREAM)
    if start < 0 or start + SAMPLES >= len(head):
        return None
    signed, bits = divmod(head[start + SAMPLES], 128)
    if signed:
        raise ValueProblem("its signed samples are decoded as others; save it as 16-bit PNG, or as .npy")
    if bits + 1 < 8:
        raise ValueProblem(f"its samples of {bits + 1} bits are decoded darker than they are; save it as PNG")
    return (2 ** (bits + 1) - 1) << (15 - bits) if 8 < bits + 1 < 16 else None


def _head(picture: Any) -> bytes:
    """How the file of a picture begins; nothing where the picture has none any more."""
    file = getattr(picture, "fp", None)
    if file is None or getattr(file, "closed", False):
        with suppress(OSError), Path(getattr(picture, "filename", "")).open("rb") as again:
            return again.read(LARGEST_HEAD)
        return b""
    place = file.tell()
    file.seek(0)
    head: bytes = file.read(LARGEST_HEAD)
    file.seek(place)
    return head


def _tiff_source(picture: Any) -> Source:
    tags, bits = picture.tag_v2, max(_bits(picture))
    scale = {("L", 2): 85, ("L", 4): 17, ("RGB", 16): 256, ("RGBA", 16): 256}.get((picture.mode, bits), 1)
    top = None
    if picture.mode.startswith("I"):
        top = 2**bits - 1 if bits <= 16 and max(tags.get(SIGN, (1,))) == 1 else 0
    form = LOSSY_TIFF.get(tags.get(COMPRESSION, 1), "TIFF")
    return Source(form, scale, top, tags.get(PHOTOMETRIC) == 0, _has_several(picture))


def _bits(picture: Any) -> tuple[int, ...]:
    bits: Any = picture.tag_v2.get(BITS, (1,))
    return bits if isinstance(bits, tuple) and bits else (1,)


def _has_several(picture: Image) -> bool:
    several = False
    with suppress(Exception):  # what comes after the first picture may be damaged
        several = bool(getattr(picture, "is_animated", False))
    return several


def _scale_in_file(picture: Image) -> float | None:
    """The scale of a picture that is decoded already, by its file; None where it has no name, or is another now."""
    from PIL import Image

    if name := getattr(picture, "filename", ""):
        with suppress(Exception), Image.open(name, formats=[str(picture.format)]) as again:
            if (again.size, again.mode) == (picture.size, picture.mode):
                return _scale(again)
    return None


def _scale(picture: Image) -> float:
    """What Pillow multiplies stored samples by, as the decoder it is about to use says."""
    for decoder, _, _, arguments in getattr(picture, "tile", ()):
        words = arguments if isinstance(arguments, tuple) else (arguments,)
        raw = next((word for word in words if isinstance(word, str)), "")
        if decoder.startswith("ppm") and len(words) > 1 and isinstance(words[1], int):
            return (65535 if picture.mode == "I" else 255) / words[1]
        if raw.startswith(("LA;16", "RGB;16", "RGBA;16", "RGBX;16")):
            return 256
        return {"L;2": 85, "L;4": 17}.get(raw, 1)
    return 1


def _without_text(path: Path) -> IO[bytes] | None:
    """A PNG file without its text, which Pillow refuses beyond 1 MiB; None for another file."""
    data = path.read_bytes()
    if not data.startswith(PNG_MARK):
        return None
    kept, place = [PNG_MARK], len(PNG_MARK)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 8 : place + 17] == b"anymodal\0":
            raise ValueProblem(f"{path} has a description of {end - place} bytes, more than is read; save it anew")
        if data[place + 4 : place + 8] not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(data[place:end])
        place = end
    return io.BytesIO(b"".join(kept))


def _too_large(path: Path | str, what: str) -> str:
    return f"{path} has {what}, more than the limit of {MAX_PIXELS // 1024**2} megapixels; make it smaller first"
