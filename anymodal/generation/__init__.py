"""Generation: plans of targets, schedules, and the sampler that fills them (4M, arXiv 2312.06647)."""

from anymodal.generation.logits import Draws
from anymodal.generation.sampler import Pass, Sampler, Target
from anymodal.generation.schedules import Step
from anymodal.generation.state import Known, KnownTokens

__all__ = ["Draws", "Known", "KnownTokens", "Pass", "Sampler", "Step", "Target"]
