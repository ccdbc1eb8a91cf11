"""All suites over a folder of recorded cases, as results and as a command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import click

from anymodal.errors import AnymodalError
from parity.masking import verify_masking
from parity.results import Result
from parity.sampling import verify_sampling
from parity.tokenizers import verify_hashed_tokenizers, verify_stored_tokenizers
from parity.transformer import verify_transformers
from parity.vocabulary import verify_text

SUITES: dict[str, Callable[[Path], Iterator[Result]]] = {
    "fm": verify_transformers,
    "generate": verify_sampling,
    "text": verify_text,
    "masking": verify_masking,
    "tok": verify_stored_tokenizers,
    "tokenizers": verify_hashed_tokenizers,
}


def verify(folder: Path, only: str = "*") -> Iterator[Result]:
    """The results of every suite whose folder is there and whose name matches the pattern `only`."""
    for name, suite in SUITES.items():
        if (folder / name).is_dir() and fnmatch(name, only):
            yield from suite(folder / name)


@click.command("parity")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", default="*", help="A pattern of suites: fm, generate, text, masking, tok, tokenizers.")
def main(folder: Path, only: str) -> None:
    """Compare our numbers with those recorded in FOLDER; exit 1 if any is out of tolerance, or none was compared."""
    results = []
    try:
        for result in verify(folder, only):
            results.append(result)
            click.echo(result.line())
    except AnymodalError as error:
        raise click.ClickException(str(error)) from None
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    click.echo(f"{passed} passed, {failed} failed, {len(results) - passed - failed} skipped")
    sys.exit(1 if failed or not passed else 0)
