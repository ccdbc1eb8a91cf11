"""The rules, by topic; importing this package fills `RULES`."""

from anymodal.testing.rules import augment, package, present, space, tokenizer, values

MODULES = (package, values, space, tokenizer, augment, present)
