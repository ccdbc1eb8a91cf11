#!/bin/sh
# polars 2.1.0: of a list of dicts the first 100 say which columns there are and what they hold. Later numbers are cut to that
# without a word: 2.5 to 2 where 100 whole numbers came before, 7 to false where 100 truth values did, also in lists and structs,
# and columns that come later are left. A text among numbers raises, and so does 2.5 in a dict of lists.
# `infer_schema_length=None` reads all.
#
# Seen:
#   2.1.0 after 100 whole numbers 2.5 is 2, in a list [2], in a struct {'of': 2}; after truth values 7 is False; a later column: ['x']
#   2.1.0 all rows: 2.5; a text: ComputeError; a dict of lists: TypeError
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile polars==2.1.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import polars


def last(first, number, **options):
    rows = [{"x": first}] * 100 + [{"x": number}]
    return polars.DataFrame(rows, **options)["x"].to_list()[-1]


def error(make):
    try:
        make()
    except (TypeError, polars.exceptions.ComputeError) as error:
        return type(error).__name__


cut, listed, inside, truth = last(1, 2.5), last([1], [2.5]), last({"of": 1}, {"of": 2.5}), last(True, 7)
columns = polars.from_dicts([{"x": 1}] * 100 + [{"x": 1, "y": 2}]).columns
text, lists = error(lambda: last(1, "cat")), error(lambda: polars.DataFrame({"x": [1] * 100 + [2.5]}))
whole = last(1, 2.5, infer_schema_length=None)
print(polars.__version__, f"after 100 whole numbers 2.5 is {cut}, in a list {listed}, in a struct {inside};", end=" ")
print(f"after truth values 7 is {truth}; a later column: {columns}")
print(polars.__version__, f"all rows: {whole}; a text: {text}; a dict of lists: {lists}")
assert (cut, listed, inside, truth, columns) == (2, [2], {"of": 2}, False, ["x"])
assert (whole, text, lists) == (2.5, "ComputeError", "TypeError")
EOF
