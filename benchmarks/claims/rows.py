"""The rows of the table, in its order."""

from benchmarks.claims import averaging, matrix, retrieval, transfers

FILES = (averaging, matrix, retrieval, transfers)
ORDER = ("matrix", "retrieval", "averaging", "transfer-depth", "transfer-pretrained", "thinking")
