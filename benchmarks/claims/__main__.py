"""Measure claims and write their table: `python -m benchmarks.claims [NAME ...] [--set NAME.SETTING=VALUE]`.

    python -m benchmarks.claims                        # all, in the order of the table
    python -m benchmarks.claims matrix                 # one row
    python -m benchmarks.claims --page                 # the table of what was measured before

What was measured is kept in benchmarks/results/claims: the same command goes on where it stopped, and begins again
where the model has other weights by now. The sizes of a run are those of benchmarks/claims/sizes.yaml; what was run
with others is kept in out/claims, and not in the table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from anymodal.errors import AnymodalError
from benchmarks.__main__ import by_name
from benchmarks.claims.base import RESULTS, load_claim, work_off
from benchmarks.claims.page import rows, write_page

OTHER = Path("out/claims")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    made = argparse.ArgumentParser(
        "benchmarks.claims", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="by default all")
    made.add_argument("--set", action="append", default=[], metavar="NAME.SETTING=VALUE", help="matrix.scenes=8")
    made.add_argument("--page", action="store_true", help="measure nothing, write the table alone")
    options = made.parse_args()
    try:
        named = options.names or rows()
        changed = by_name(options.set, named)
        for name in () if options.page else named:
            folder = OTHER if changed.get(name) else RESULTS
            done = work_off(name, load_claim(name, changed.get(name)), say, folder)
            say(f"{name}: {load_claim(name, changed.get(name)).verdict(done.pieces).measured}")
        write_page()
    except KeyboardInterrupt:
        say("stopped; the same command goes on")
        return 130
    except AnymodalError as error:
        say(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
