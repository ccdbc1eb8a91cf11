"""What `anymodal` alone says: what is here, and what to try."""

from __future__ import annotations

from anymodal import __version__
from anymodal.errors import counted
from anymodal.plugins.registry import registry

TINY = (
    ("anymodal samples copy", "photographs to try things on, into photos/"),
    ("anymodal generate rgb=photos/coffee.jpg --to depth,caption --out out/", "from a picture to other modalities"),
    ('anymodal generate caption="a red car on a road" --to rgb --out out/car', "from words to a picture"),
)
SCENES = (("anymodal scenes --count 100 --out out/scenes", "rendered scenes with exact labels, as data"),)
APP = (("anymodal app", "the same on a page in your browser"),)
ALWAYS = (
    ("anymodal modalities", "what is installed; with a name, what it is"),
    ("anymodal models", "presets and published models"),
    ("anymodal recipes copy tiny", "configurations, to train your own"),
    ("anymodal plugin search", "plugins that are published; `plugin install` installs one"),
    ("anymodal plugin new height_map", "the plugin of a modality of your own"),
    ("anymodal doctor", "what works and what does not"),
)
MISSING = ("pip install 'anymodal[all]'", "all modalities, and a small model that comes with them")


def overview() -> str:
    """A few lines for people; names only what is installed."""
    found, commands = registry().modalities(), registry().commands()
    tiny = any(each.kind == "preset" and each.provides == "tiny" for each in registry().candidates())
    rows = [
        *(TINY if tiny else (MISSING,)),
        *(APP if "app" in commands else ()),
        *(SCENES if "scenes" in commands else ()),
        *ALWAYS,
    ]
    width = max(len(command) for command, _ in rows if len(command) <= 46)
    lines = [f"  {command:{width}}  {what}" if len(command) <= width else f"  {command}" for command, what in rows]
    return "\n".join(
        [
            f"anymodal {__version__}: any-to-any multimodal models, in which every modality is a plugin.",
            f"{counted(len(found), 'modality')} {'is' if len(found) == 1 else 'are'} installed.",
            "",
            "Try:",
            *lines,
            "",
            "All commands: anymodal --help. Of one, with examples: anymodal generate --help.",
            "TAB completes names and files, see https://anymodal.github.io/anymodal/reference/cli/",
        ]
    )
