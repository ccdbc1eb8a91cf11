"""Adapters to checkpoints of other projects, one folder a format."""
