"""What a plugin may import: the public names of `anymodal` itself, and what is in these modules of it.

All else may change in any release. A rule of conformance (AM007) holds plugins to it.
"""

TABLES = ("generation", "masking", "sampling")  # tables to which a plugin may add
PUBLIC_MODULES = (
    "cli", "durable", "errors", "families", "files", "hookspecs", "lazy", "progress", "retrieval", "spaces", "teachers",
    "testing", "text",
    *TABLES,
)  # fmt: skip
