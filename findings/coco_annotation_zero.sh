#!/bin/sh
# pycocotools 2.0.11, faster-coco-eval 1.8.0: of an annotation whose id is 0, as the first has where rows are counted from 0, neither
# believes that it was found: 0 stands for "no match". Of four boxes that are all found exactly, the average precision is 0.56, and
# that of one box alone is 0. pycocotools says nothing, faster-coco-eval warns; ids of images and categories may be 0.
#
# Seen:
#   pycocotools 2.0.11 ids from 1: 1.0, from 0: 0.564, one alone: 0.0
#   faster-coco-eval 1.8.0 ids from 1: 1.0, from 0: 0.564, one alone: 0.0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import contextlib
import io
import warnings
from importlib.metadata import version

import faster_coco_eval
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

warnings.simplefilter("ignore")
TOOLS = {
    "pycocotools": (COCO, COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
}


def precision(kind, count, first):
    boxes = [{"image_id": k, "category_id": 0, "bbox": [10, 10, 20, 20]} for k in range(count)]
    true = TOOLS[kind][0]()
    true.dataset = {
        "info": {},
        "images": [{"id": k, "width": 100, "height": 100} for k in range(count)],
        "categories": [{"id": 0, "name": "cat"}],
        "annotations": [box | {"id": first + k, "area": 400, "iscrowd": 0} for k, box in enumerate(boxes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        true.createIndex()
        judged = TOOLS[kind][1](true, true.loadRes([box | {"score": 0.9} for box in boxes]), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return round(float(judged.stats[0]), 3)


for kind in TOOLS:
    found = precision(kind, 4, 1), precision(kind, 4, 0), precision(kind, 1, 0)
    print(kind, version(kind), "ids from 1: {}, from 0: {}, one alone: {}".format(*found))
    assert found == (1, 0.564, 0)
EOF
