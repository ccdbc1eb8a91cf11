"""Plugins: what is installed, loading one by one, and what is wrong with those that cannot be used."""

from anymodal.plugins.discovery import Candidate, Problem
from anymodal.plugins.guard import blame, describe, provenance
from anymodal.plugins.registry import Registry, modalities, registry, use

__all__ = ["Candidate", "Problem", "Registry", "blame", "describe", "modalities", "provenance", "registry", "use"]
