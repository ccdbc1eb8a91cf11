"""What runs the benchmarks.

base.py       the two kinds of benchmarks, and their table
parts.py      products and traffic that any implementation needs, measured by themselves: the floor
models.py     Transformers with random weights over the published vocabularies
twins.py      the plain way of doing the same, as it would be written without this project
worker.py     a process that runs the work of one case when it is asked to
rounds.py     rounds of workers in turn; medians, spreads and intervals
revisions.py  another revision of the package beside this one
report.py     the results as a table and as JSON
"""
