"""What is measured, as one command: `python -m benchmarks [NAME ...]`, or `make bench`.

A file here is a benchmark of the file's name, in the table `BENCHMARKS` of `harness/base.py`. There are two kinds:
`Timed` ones have cases, each with its work, the floor under it and sometimes a plain twin; `Figures` measure something
else than time, such as the quality of a model. `harness/` is what runs them.

Times depend on what else a machine does; ratios of what was measured in turn are what counts.
"""
