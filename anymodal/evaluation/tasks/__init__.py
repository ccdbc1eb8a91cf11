"""The table of tasks: which data, from what to what, and by which metric; one file for each published data set."""

from anymodal.evaluation.tasks import ade20k, aligned, coco, diode, imagenet, nyu, pictures, search, three_dpw
from anymodal.evaluation.tasks.base import TASKS, Task
from anymodal.evaluation.tasks.kinds import CaptionTask, DepthTask, DetTask, NormalTask, SemsegTask, UncutTask

__all__ = ["TASKS", "CaptionTask", "DepthTask", "DetTask", "NormalTask", "SemsegTask", "Task", "UncutTask"]
__all__ += ["ade20k", "aligned", "coco", "diode", "imagenet", "nyu", "pictures", "search", "three_dpw"]
