"""The rows of the table, in its order."""

from benchmarks.claims import averaging, matrix, retrieval, siblings, transfers

FILES = (averaging, matrix, retrieval, siblings, transfers)
ORDER = (
    *("specialists", "many", "matrix", "retrieval", "averaging", "transfer-depth", "transfer-pretrained", "thinking"),
    "scale",
)
