"""The rows of the table, in its order."""

from benchmarks.claims import averaging as averaging
from benchmarks.claims import matrix as matrix
from benchmarks.claims import retrieval as retrieval
