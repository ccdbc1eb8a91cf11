"""What is measured, as scripts: `python benchmarks/NAME.py`."""
