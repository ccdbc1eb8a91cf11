#!/bin/sh
# torchmetrics 1.9.0, torch 2.13.0: whether a document was found depends on the sign of its score in `RetrievalMAP`, `RetrievalMRR`,
# `RetrievalRecall` and `RetrievalPrecision`: those of 0 and below count as not relevant wherever they rank. Cosines below 0,
# logits, and distances with a minus give 0 for a ranking whose scores above 0 give one. `RetrievalNormalizedDCG` and
# `RetrievalHitRate` of the same scores go by the ranking alone.
#
# Seen:
#   1.9.0 scores [0.4, 0.3, 0.2, 0.1]: MAP 0.5, MRR 0.5, Recall 1.0, Precision 0.25, NormalizedDCG 0.631, HitRate 1.0
#   1.9.0 the same less 0.5: MAP 0.0, MRR 0.0, Recall 0.0, Precision 0.0, NormalizedDCG 0.631, HitRate 1.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch
import torchmetrics
from torchmetrics import retrieval

NAMES = ("MAP", "MRR", "Recall", "Precision", "NormalizedDCG", "HitRate")
scores, relevant, query = torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([0, 1, 0, 0]), torch.zeros(4, dtype=torch.long)


def measured(scores):
    metrics = {name: getattr(retrieval, f"Retrieval{name}")() for name in NAMES}
    return {name: round(metric(scores, relevant, indexes=query).item(), 3) for name, metric in metrics.items()}


above, below = measured(scores), measured(scores - 0.5)
listed = [round(score, 1) for score in scores.tolist()]
print(torchmetrics.__version__, f"scores {listed}:", ", ".join(f"{name} {found}" for name, found in above.items()))
print(torchmetrics.__version__, "the same less 0.5:", ", ".join(f"{name} {found}" for name, found in below.items()))
assert list(above.values()) == [0.5, 0.5, 1, 0.25, 0.631, 1]
assert list(below.values()) == [0, 0, 0, 0, 0.631, 1]
EOF
