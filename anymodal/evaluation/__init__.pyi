from .layouts.base import Sample as Sample
from .layouts.base import Samples as Samples
from .metrics import Metric as Metric
from .report import Evaluation as Evaluation
from .run import evaluate as evaluate
from .tasks import TASKS as TASKS
from .tasks import Task as Task
