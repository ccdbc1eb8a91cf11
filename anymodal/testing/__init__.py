"""Conformance of plugins: rules as data, one runner, and the three lines that a plugin author writes::

    from anymodal.testing import conformance

    test_conformance = conformance("thermal")

`anymodal plugin check` runs the same rules. The public names are resolved when first used; pytest loads the fixtures of
`anymodal.testing.pytest_plugin` by itself, and the hypothesis strategies are in `anymodal.testing.strategies`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
