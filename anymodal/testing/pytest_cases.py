"""The skin for pytest: a test for each rule; nothing is loaded before the first one runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from anymodal.modality import Modality

if TYPE_CHECKING:
    from anymodal.testing.run import Inspection


class ConformanceWarning(UserWarning):
    """A modality does not keep a rule that it should keep."""


def conformance(
    what: str | type[Modality], *, expected_failures: Mapping[str, str] | None = None, profile: str = "quick"
) -> Callable[..., None]:
    """A test of an installed modality or a class, one case a rule.

    `expected_failures` maps numbers of rules to the reason why the modality does not keep them; a rule that is declared
    to fail must do so. `profile` 'full' adds rules that take seconds.
    """
    import pytest

    from anymodal.testing.run import checked, rule_numbers

    checked(expected_failures or {})

    @cache
    def inspection() -> Inspection:
        from anymodal.testing.choose import Target, find
        from anymodal.testing.run import Inspection

        targets: list[Target] = find(what)
        assert len(targets) == 1, f"{what} is {len(targets)} modalities; name one"
        return Inspection(targets[0], expected_failures)

    @pytest.mark.parametrize("rule", rule_numbers(profile))
    def test(rule: str) -> None:
        result: Any = inspection().judge(rule)
        if result.status == "failed":
            pytest.fail(str(result), pytrace=False)
        if result.status == "warned":
            import warnings

            warnings.warn(str(result), ConformanceWarning, stacklevel=2)
        if result.detail.endswith("comes first"):
            pytest.skip(str(result))
        if result.status == "failed as expected":
            pytest.xfail(str(result))

    return test
