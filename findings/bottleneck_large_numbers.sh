#!/bin/sh
# Bottleneck 1.6.0, numpy 2.4.6: `move_mean`, `move_sum` and `move_var` add what comes in and take off what leaves, so one large number
# spoils all windows that come after it has left: past 1e20 the mean of ones is 0, past an inf it is NaN to the end, and past
# one place at 65504 m depths of 0.1 m have a mean of 0.1016 m. pandas, which does the same with a correction, is right.
#
# Seen:
#   1.6.0 means of pairs after 1e+20: 0.0 for 1.0
#   1.6.0 means of pairs after inf: nan for 1.0
#   1.6.0 means of pairs after 65504.0: 0.101562 for 0.1
#   1.6.0 3.1.1 variance of three after 1e9: 0.0, of pandas: 0.666667
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile bottleneck==1.6.0 pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings

import bottleneck
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
last = {}
for large, small in ((1e20, 1), (np.inf, 1), (65504, 0.1)):
    row = np.array([large] + [small] * 1000, np.float32)
    last[large] = round(float(bottleneck.move_mean(row, 2)[-1]), 6)
    print(bottleneck.__version__, f"means of pairs after {float(large)}: {last[large]} for {float(small)}")
row = np.array([1e9, *range(9)])
variance = float(bottleneck.move_var(row, 3)[-1]), round(float(pd.Series(row).rolling(3).var(ddof=0).iloc[-1]), 6)
print(bottleneck.__version__, pd.__version__, "variance of three after 1e9: {}, of pandas: {}".format(*variance))
assert last[1e20] == 0 and np.isnan(last[np.inf]) and last[65504] > 0.101 and variance == (0, 0.666667)
EOF
