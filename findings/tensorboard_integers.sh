#!/bin/sh
# tensorboard 2.21.0, torch 2.13.0, pillow 12.3.0: `SummaryWriter.add_image` takes numbers for levels of 0 to 255 only where they
# are uint8. Others are multiplied by 255 and cut, so a picture of int64, as a decoder of tokens gives it, or of uint16 is white
# all over, without a word, and of a class map every class but 0 is.
#
# Seen:
#   level 100 as uint8: 100, as int64: 255, as uint16: 255, as float32: 255, as 100 / 255: 100
#   2.21.0 2.13.0+cpu
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.13.0 tensorboard==2.21.0 pillow==12.3.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io

import numpy as np
import tensorboard
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter


def shown(level, kind):
    with SummaryWriter(f"{level}{np.dtype(kind)}") as writer:
        writer.add_image("made", np.full((3, 4, 4), level, kind))
    events = EventAccumulator(writer.log_dir)
    events.Reload()
    return Image.open(io.BytesIO(events.Images("made")[0].encoded_image_string)).getpixel((0, 0))[0]


kinds = ("uint8", "int64", "uint16", "float32")
seen = [shown(100, kind) for kind in kinds]
part = shown(100 / 255, "float32")
print("level 100", ", ".join(f"as {kind}: {level}" for kind, level in zip(kinds, seen, strict=True)), end=", ")
print(f"as 100 / 255: {part}")
print(tensorboard.__version__, torch.__version__)
assert seen == [100, 255, 255, 255] and part == 100
EOF
