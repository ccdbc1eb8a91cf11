#!/bin/sh
# torch 2.13.0: `len(x)` is not `x.shape[0]` to torch.export. With strict=False, the default, it is the number of the example: an
# axis that is declared dynamic is refused as constant, and one that is left to AUTO is fixed without a word, which shows at
# the first call with another batch. With strict=True both are dynamic.
#
# Seen:
#   2.13.0+cpu shape, strict=False: (7,)
#   len, strict=False: UserError: Constraints violated (batch)!
#   len, strict=False, AUTO: AssertionError: Guard failed: x.size()[0] == 4
#   len, strict=True: (7,)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'EOF'
import torch
from torch.export import Dim, export


class ByShape(torch.nn.Module):
    def forward(self, x):
        return x.reshape(x.shape[0], -1).sum(1)


class ByLen(torch.nn.Module):
    def forward(self, x):
        return x.reshape(len(x), -1).sum(1)


def of_seven(module, strict, axis):
    try:
        program = export(module, (torch.ones(4, 3, 5),), dynamic_shapes=({0: axis},), strict=strict)
        return str(tuple(program.module()(torch.ones(7, 3, 5)).shape))
    except (AssertionError, RuntimeError, torch._dynamo.exc.UserError) as error:
        return f"{type(error).__name__}: {str(error).split(' For more')[0].splitlines()[0]}"


batch = Dim("batch")
shape, fixed = of_seven(ByShape(), False, batch), of_seven(ByLen(), False, batch)
auto, strict = of_seven(ByLen(), False, Dim.AUTO), of_seven(ByLen(), True, batch)
print(torch.__version__, f"shape, strict=False: {shape}")
print(f"len, strict=False: {fixed}\nlen, strict=False, AUTO: {auto}\nlen, strict=True: {strict}")
assert shape == strict == "(7,)" and "Constraints violated" in fixed and "Guard failed" in auto
EOF
