# Every target works from a clean checkout: the first one makes .venv from nothing but python3.11 and pip.
# Examples:  make test ARGS="-k registry -x"      make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON     ?= python3.11
PIP_FLAGS  ?=
ARGS       ?=
COUNT      ?= 50000
DATA       ?= out/tiny/scenes

BIN        := .venv/bin
PLUGINS    := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
INSTALL    := $(BIN)/python -m pip install --quiet -c constraints.txt $(PIP_FLAGS)
MODEL      := recipes/tiny/model.yaml
PRESET     := plugins/anymodal-tiny/anymodal_tiny/checkpoint
TOKENIZERS := $(filter-out $(MODEL),$(wildcard recipes/tiny/*.yaml))
STAMP      := .venv/.installed
DOCS       := .venv/.docs

.PHONY: demo test lint types docs tiny data clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow" $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check $(ARGS)
	$(BIN)/ruff format --check $(ARGS)

types: $(STAMP)
	$(BIN)/mypy $(ARGS)

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

data: $(STAMP)
	$(BIN)/anymodal data scenes --count $(COUNT) --out $(DATA) --seed 0 --kinds basic $(ARGS)

tiny: data
	set -e; for recipe in $(TOKENIZERS); do $(BIN)/anymodal train-tokenizer $$recipe --out out/tiny/tokenizers; done
	$(BIN)/anymodal tokenize $(DATA) --config $(MODEL) --out out/tiny/tokens --count 11500
	$(BIN)/anymodal train $(MODEL) --out out/tiny/run
	rm -rf $(PRESET)
	$(BIN)/python recipes/tiny/export.py out/tiny/run/model $(PRESET)

clean:
	rm -rf .venv build dist site out runs .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) pip hatchling editables
	$(INSTALL) --no-build-isolation --group test --group lint -e . $(addprefix -e ,$(PLUGINS))
	touch $@

$(DOCS): $(STAMP)
	$(INSTALL) --group docs
	touch $@
