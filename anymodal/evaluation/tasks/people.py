"""Tasks of people's poses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.evaluation.tasks.base import Task

if TYPE_CHECKING:
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality


@attrs.frozen
class PoseTask(Task):
    """People's joints.

    body: an .npz file of SMPL's model, whose joints take the place of those of a body of average shape.
    """

    body: str = ""
    target: ClassVar[str] = "human_poses"

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.poses import PoseErrors

        people: Any = modality
        return PoseErrors(partial(people.joints, body=people.body(self.body)) if self.body else people.joints)

    def state(self) -> object:
        from anymodal.data.jobs.receipts import checksum

        return attrs.asdict(checksum([Path(self.body)])) if self.body else None

    def constant(self, truths: Sequence[Any]) -> Any:
        """Nobody."""
        return []
