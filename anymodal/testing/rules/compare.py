"""Which modalities a rule is for."""

from __future__ import annotations

from anymodal.modality import Modality
from anymodal.testing.subject import Subject


def images(subject: Subject) -> bool:
    """Modalities whose tensors are pictures: the image family, and what does as it does."""
    return subject.is_image


def float_images(subject: Subject) -> bool:
    """Modalities whose tensors are pictures and whose values are floats."""
    return subject.is_image and getattr(subject.cls, "dtype", "float32") == "float32"


def may_have_holes(subject: Subject) -> bool:
    """Modalities whose tensors are pictures and whose values are floats, and those that say `nan_is_missing`."""
    return float_images(subject) or (subject.cls.nan_is_missing and arrays(subject))


def grids(subject: Subject) -> bool:
    """Modalities whose values have `sizes`, in pixels a side: images, label maps, feature maps."""
    return subject.is_grid


def over_picture(subject: Subject) -> bool:
    """Modalities whose values cover the picture and move with it (`aligned`): images, label maps, feature maps."""
    return subject.is_grid and subject.cls.aligned


def cut_as_pictures(subject: Subject) -> bool:
    """Modalities whose values cover the picture (`aligned`), or are cut as if they did."""
    return subject.is_grid and (subject.cls.aligned or subject.cls.crop is not Modality.crop)


def beside_picture(subject: Subject) -> bool:
    """Modalities whose values neither cover the picture nor move with it: signals, vectors, text."""
    return not subject.cls.aligned and subject.cls.crop is Modality.crop


def label_maps(subject: Subject) -> bool:
    """Label maps."""
    return subject.cls.family == "label map"


def arrays(subject: Subject) -> bool:
    """Modalities whose values are arrays of numbers that `preprocess` takes."""
    return not subject.is_sequence


def sequences(subject: Subject) -> bool:
    """Modalities that are spelled as text: plain text and structured sequences."""
    return subject.is_sequence


def with_files(subject: Subject) -> bool:
    """Modalities that name `suffixes` of files."""
    return bool(subject.cls.suffixes)


def with_tokens(subject: Subject) -> bool:
    """Modalities that are generated."""
    return subject.is_target


def with_tokenizer(subject: Subject) -> bool:
    """Modalities with a tokenizer of their own."""
    return subject.has_tokenizer


def with_codes(subject: Subject) -> bool:
    """Modalities whose tokens are the ids of a codebook."""
    return subject.has_tokenizer and not subject.is_sequence


def distributed(subject: Subject) -> bool:
    """Modalities that a distribution or a project folder announces."""
    return subject.installed
