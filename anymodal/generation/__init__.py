"""Generation: plans of targets, schedules, and the sampler that fills them (4M, arXiv 2312.06647)."""

from anymodal.generation.known import Known, KnownTokens
from anymodal.generation.sampler import Sampler, Target

__all__ = ["Known", "KnownTokens", "Sampler", "Target"]
