"""A local web page around an any-to-any model: `anymodal app`."""
