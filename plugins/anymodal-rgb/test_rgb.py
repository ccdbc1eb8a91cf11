"""The rgb plugin keeps the rules of conformance."""

from anymodal.testing import conformance

test_conformance = conformance("rgb")
