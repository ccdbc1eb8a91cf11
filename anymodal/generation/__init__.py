"""Generation: plans of targets, schedules, and the sampler that fills them (generation.md)."""

from anymodal.generation.known import Known, KnownTokens
from anymodal.generation.sampler import Sampler, Target

__all__ = ["Known", "KnownTokens", "Sampler", "Target"]
