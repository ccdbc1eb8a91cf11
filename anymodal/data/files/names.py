"""Names of files as data sets state them: what becomes the name of a sample, and names that lead elsewhere.

A tar, a table or a server may state any name. Names of samples become paths when data is written, so a name that could
lead out of a folder is refused here, where files are listed, once for all who read.
"""

from __future__ import annotations

import re

DRIVE = re.compile(r"[A-Za-z]:")
LONE = re.compile("[\udc80-\udcff]")  # how Python keeps a byte that is no UTF-8


def readable(name: str) -> str:
    """A name as the system gives it; bytes that are not UTF-8 as %XX, as in addresses."""
    return LONE.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", name)


def decoded(raw: bytes) -> str:
    """The name of a member of a tar, as `readable`."""
    return readable(raw.decode("utf-8", "surrogateescape"))


def leads_elsewhere(name: str) -> str:
    """Why a name is no place within a folder, in words; an empty string for a plain one such as dogs/0001.png."""
    if "\0" in name:
        return "has a NUL"
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/") or DRIVE.match(name):
        return "is absolute"
    if ".." in name.split("/"):
        return "has a part '..'"
    return ""


def refusal(place: str, name: str) -> str:
    """The line about a file that is not read for its name; an empty string for a plain one."""
    why = leads_elsewhere(name)
    return f"{place}: {name!r} {why}, so it could lead out of a folder" if why else ""
