# Every target works from a clean checkout: the first one makes .venv from nothing but python3.11 and pip.
# Examples:  make test ARGS="-k registry -x"      make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON     ?= python3.11
PIP_FLAGS  ?=
ARGS       ?=
JOBS       ?= 2
COUNT      ?= 50000
DATA       ?= out/tiny/scenes

BIN        := .venv/bin
PLUGINS    := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
INSTALL    := $(BIN)/python -m pip install --quiet -c constraints.txt $(PIP_FLAGS)
MODEL      := recipes/tiny/model.yaml
PICTURES   := recipes/tiny/pictures.yaml
PRESET     := plugins/anymodal-tiny/anymodal_tiny/checkpoint
TOKENIZERS := $(filter-out $(MODEL) $(PICTURES),$(wildcard recipes/tiny/*.yaml))
TEACHERS   := $(basename $(notdir $(wildcard recipes/tiny/teachers/*.yaml)))
WEIGHTS    := plugins/anymodal-tiny/anymodal_tiny/weights
STAMP      := .venv/.installed
DOCS       := .venv/.docs

.PHONY: demo test slow lint types docs tiny teachers data clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py $(ARGS)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --dist loadfile $(ARGS)

slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -n $(JOBS) --dist loadfile $(ARGS)

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
	$(BIN)/anymodal tokenize $(DATA) --config $(MODEL) --out out/tiny/tokens
	$(BIN)/anymodal train $(MODEL) --out out/tiny/run
	$(BIN)/anymodal train $(PICTURES) --out out/tiny/run --resume
	rm -rf $(PRESET)
	$(BIN)/python recipes/tiny/export.py out/tiny/run/model $(PRESET)

teachers: $(STAMP)
	set -e; for name in $(TEACHERS); do \
	  $(BIN)/anymodal train-teacher recipes/tiny/teachers/$$name.yaml --out out/tiny/teachers/$$name; \
	  mkdir -p $(WEIGHTS)/$$name; cp out/tiny/teachers/$$name/*.json out/tiny/teachers/$$name/*.safetensors $(WEIGHTS)/$$name; \
	done

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
