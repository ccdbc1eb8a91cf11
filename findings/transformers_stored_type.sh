#!/bin/sh
# transformers 5.24.0, torch 2.13.0: `from_pretrained` computes in the type in which weights are stored, also where config.json names
# none, so that a copy of a model in half precision answers otherwise than its original without being asked. The encoder of T5
# in float16 is of two types: the last layer of each block stays in float32.
#
# Seen:
#   5.24.0 bfloat16: ['bfloat16'] float16: ['float16', 'float32'] float16, unnamed: float16
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6 transformers==5.24.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import json

import torch
import transformers

transformers.utils.logging.disable_progress_bar()
CONFIG = transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)


def loaded(dtype, named=True):
    transformers.T5EncoderModel(CONFIG).to(dtype).save_pretrained("saved")
    if not named:
        with open("saved/config.json") as file:
            config = {key: value for key, value in json.load(file).items() if key not in ("dtype", "torch_dtype")}
        with open("saved/config.json", "w") as file:
            json.dump(config, file)
    return transformers.T5EncoderModel.from_pretrained("saved")


kinds = [sorted({str(p.dtype)[6:] for p in loaded(dtype).parameters()}) for dtype in (torch.bfloat16, torch.float16)]
unnamed = loaded(torch.float16, named=False).dtype
print(transformers.__version__, "bfloat16:", kinds[0], "float16:", kinds[1], "float16, unnamed:", str(unnamed)[6:])
assert kinds == [["bfloat16"], ["float16", "float32"]] and unnamed == torch.float16
EOF
