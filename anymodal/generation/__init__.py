"""Generation: plans of targets, schedules, and the sampler that fills them (4M, arXiv 2312.06647)."""

from anymodal.generation.draw import Draws
from anymodal.generation.known import Known, KnownTokens
from anymodal.generation.sampler import Pass, Sampler, Target
from anymodal.generation.schedules import Step

__all__ = ["Draws", "Known", "KnownTokens", "Pass", "Sampler", "Step", "Target"]
