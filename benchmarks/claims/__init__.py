"""The claims of the project on held-out scenes: `python -m benchmarks.claims` measures them and writes their table."""
