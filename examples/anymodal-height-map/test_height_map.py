from anymodal.testing import conformance

test_conformance = conformance("height_map")
