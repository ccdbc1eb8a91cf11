"""Schemes: one a file, each with its own options."""
