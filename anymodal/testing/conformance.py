"""The skin for pytest: one test for all rules, run inside the test and never at collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anymodal.modality import Modality


def conformance(
    target: str | type[Modality], *, expected_failures: Mapping[str, str] | None = None
) -> Callable[[], None]:
    """A test function that checks an installed modality; rules that are declared to fail must do so."""

    def test() -> None:
        from anymodal.testing.run import check

        bad = [str(result) for result in check(target, expected_failures) if result.bad]
        assert not bad, "\n".join(bad)

    return test
