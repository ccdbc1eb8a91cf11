# Every target works from a clean checkout: the first one makes .venv with the newest Python that works here, from 3.11 on.
# Examples:  make test ARGS="-k registry -x"      make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#            make bench ARGS="caption --against main"
#            make claims ARGS="matrix averaging"
#            make check                           make lint PYTHON=/opt/python/bin/python3.12

PYTHON     ?=
PYTHONS    := python3.14 python3.13 python3.12 python3.11 python3 python
WORKS      := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PIP_FLAGS  ?=
ARGS       ?=
JOBS       ?= 2
AGAINST    ?= $(shell git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null)
COUNT      ?= $(if $(filter fuzz,$(MAKECMDGOALS)),1000000,50000)
SECONDS    ?= 900
SEED       ?= 0
KILLS      ?= 48
DATA       ?= out/tiny/scenes

BIN        := .venv/bin
RELIABILITY := docs/explanation/reliability.md
PLUGINS    := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
INSTALL    := $(BIN)/python -m pip install --quiet -c constraints.txt $(PIP_FLAGS)
MODEL      := recipes/tiny/model.yaml
PICTURES   := recipes/tiny/pictures.yaml
ALL        := recipes/tiny21
PRESET     := plugins/anymodal-tiny/anymodal_tiny/checkpoint
TOKENIZERS := $(filter-out $(MODEL) $(PICTURES),$(wildcard recipes/tiny/*.yaml))
TEACHERS   := $(basename $(notdir $(wildcard recipes/tiny/teachers/*.yaml)))
FEATURES   := clip dinov2 imagebind dinov2_global imagebind_global
JOINED     := rgb normal depth
FINER      := rgb depth normal semseg
KEPT       := depth normal semseg instance det human_poses scene
LARGE      := recipes/tiny128
L          := out/tiny128
CODED      := vocabulary sam_edge sam_instance human_poses $(FEATURES)
WEIGHTS    := plugins/anymodal-tiny/anymodal_tiny/weights
STAMP      := .venv/.installed
SMALL      := .venv/.demo
DOCS       := .venv/.docs
PAGES      := build/docs
UNTAGGED   := there is no tag vX.Y.Z to compare the API with; make api AGAINST=COMMIT compares it with a commit

.PHONY: demo check test slow bench claims fuzz kill-campaign lint types docs zensical pages api wheels tiny tiny21 tiny128 teachers data clean

demo: $(SMALL)
	$(BIN)/python examples/demo.py $(ARGS)

check: $(STAMP)
	+.ci/run

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

claims: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.claims $(ARGS)

fuzz: $(STAMP)
	$(BIN)/python tests/fuzz --count $(COUNT) --seconds $(SECONDS) --seed $(SEED) --jobs $(JOBS) --page $(RELIABILITY) $(ARGS)

kill-campaign: $(STAMP)
	$(BIN)/python tests/fuzz --count 0 --kills $(KILLS) --seconds $(SECONDS) --seed $(SEED) --page $(RELIABILITY) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check $(ARGS)
	$(BIN)/ruff format --check $(ARGS)

types: $(STAMP)
	$(BIN)/mypy $(ARGS)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

docs: pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file $(PAGES)/mkdocs.yml --site-dir $(CURDIR)/site $(ARGS)
	$(BIN)/python docs/browser/build.py --out site/browser

zensical: pages
	$(BIN)/zensical build --strict --clean --config-file $(PAGES)/mkdocs.yml

pages: $(DOCS)
	$(BIN)/python docs/generate.py --out $(PAGES)

api: $(DOCS)
	$(if $(AGAINST),$(BIN)/griffe check anymodal --against $(AGAINST) $(ARGS),@echo "$(UNTAGGED)")

wheels:
	.ci/wheels

data: $(STAMP)
	$(BIN)/anymodal scenes --count $(COUNT) --out $(DATA) --seed 0 --kinds basic $(ARGS)

tiny: data
	set -e; for recipe in $(TOKENIZERS); do $(BIN)/anymodal train-tokenizer $$recipe --out out/tiny/tokenizers --resume; done
	$(BIN)/anymodal tokenize $(DATA) --config $(MODEL) --out out/tiny/tokens
	$(BIN)/anymodal train $(MODEL) --out out/tiny/run --resume
	$(BIN)/anymodal train $(PICTURES) --out out/tiny/run --resume

tiny21: tiny
	$(BIN)/anymodal label $(DATA) --out out/tiny21/scenes --layout folder --count 24000 \
	  $(addprefix --with tiny_,$(FEATURES)) --with minilm
	set -e; for name in $(KEPT) caption; do \
	  ln -sfn $(abspath $(DATA))/$$name out/tiny21/scenes/$$name; done
	$(BIN)/python $(ALL)/web_text.py out/tiny21/scenes 24000
	mkdir -p out/tiny21/tokenizers/modalities
	set -e; for name in depth normal semseg canny_edge rgb; do \
	  ln -sfn $(abspath out/tiny/tokenizers/modalities)/$$name out/tiny21/tokenizers/modalities/$$name; done
	set -e; for name in $(CODED); do $(BIN)/anymodal train-tokenizer $(ALL)/$$name.yaml --out out/tiny21/tokenizers --resume; done
	$(BIN)/anymodal tokenize out/tiny21/scenes --config $(ALL)/model.yaml --out out/tiny21/tokens --count 24000
	$(BIN)/anymodal train $(ALL)/model.yaml --out out/tiny21/run --resume
	$(BIN)/python $(ALL)/narrow.py semseg out/tiny/tokenizers out/tiny21/narrow 64 88 2000
	$(BIN)/python $(ALL)/narrow.py rgb out/tiny/tokenizers out/tiny21/narrow 64 96 2000
	rm -rf out/tiny21/small
	cp -r out/tiny21/run/model out/tiny21/small
	cp -r out/tiny21/narrow/modalities/. out/tiny21/small/modalities/
	set -e; for name in $(JOINED); do \
	  $(BIN)/anymodal train-tokenizer $(ALL)/joined/$$name.yaml --out out/tiny21/joined --resume; done
	cp -r out/tiny21/joined/modalities/. out/tiny21/small/modalities/

tiny128: tiny21
	$(BIN)/anymodal scenes --count 28000 --start 50000 --out $(L)/scenes --size 128 --kinds basic
	$(BIN)/anymodal label $(L)/scenes --out $(L)/labeled --layout folder $(addprefix --with tiny_,$(FEATURES)) --with minilm
	set -e; for name in $(KEPT); do ln -sfn $(abspath $(L)/scenes)/$$name $(L)/labeled/$$name; done
	$(BIN)/python $(ALL)/web_text.py $(L)/labeled
	$(BIN)/python recipes/tiny/photographs.py $(L)/photographs 4000
	mkdir -p $(L)/pictures/rgb $(L)/pictures/caption
	set -e; for name in scenes/rgb photographs/rgb scenes/caption; do (cd $(L)/$$name; \
	  to=$(abspath $(L))/pictures/$${name#*/}/$${name%/*}; for file in *.*; do ln -f $$file $$to-$$file; done); done
	set -e; for name in $(FINER); do \
	  $(BIN)/anymodal train-tokenizer $(LARGE)/tokenizers/$$name.yaml --out $(L)/tokenizers --resume; done
	$(BIN)/python $(LARGE)/grow.py out/tiny21/small $(L)/tokenizers $(L)/grown
	$(BIN)/anymodal tokenize $(L)/labeled --config $(LARGE)/model.yaml --out $(L)/tokens
	$(BIN)/anymodal tokenize $(L)/photographs --config $(LARGE)/model.yaml --out $(L)/photograph_tokens
	$(BIN)/anymodal train $(LARGE)/model.yaml --out $(L)/run --resume
	set -e; for name in $(FINER); do \
	  $(BIN)/anymodal train-tokenizer $(LARGE)/decoders/$$name.yaml --out $(L)/decoders --resume; done
	rm -rf $(L)/model $(PRESET)
	cp -r $(L)/run/model $(L)/model
	cp -r $(L)/decoders/modalities/. $(L)/model/modalities/
	$(BIN)/python recipes/tiny/export.py $(L)/model $(PRESET)

teachers: $(STAMP)
	set -e; for name in $(TEACHERS); do \
	  $(BIN)/anymodal train-teacher recipes/tiny/teachers/$$name.yaml --out out/tiny/teachers/$$name; \
	  mkdir -p $(WEIGHTS)/$$name; cp out/tiny/teachers/$$name/*.json out/tiny/teachers/$$name/*.safetensors $(WEIGHTS)/$$name; \
	done

clean:
	rm -rf .venv build dist site out runs .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for each in $(or $(PYTHON),$(PYTHONS)); do \
	  if $$each -c '$(WORKS)' 2>/dev/null; then echo "$$each -m venv .venv"; exec $$each -m venv .venv; fi; \
	done; \
	echo "anymodal needs Python 3.11 or newer, with its modules venv and ensurepip, and finds none" \
	  "($(or $(PYTHON),$(PYTHONS))): install one, or name it: make PYTHON=/path/to/python" >&2; exit 1

$(SMALL): pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml) | $(BIN)/python
	@test -e $(STAMP) || echo "installing anymodal and its plugins into .venv, without what tests need: PyTorch and a few more"
	test -e $(STAMP) || $(INSTALL) pip hatchling editables
	test -e $(STAMP) || $(INSTALL) --no-build-isolation -e . $(addprefix -e ,$(filter-out plugins/anymodal-app,$(PLUGINS)))
	touch $@

$(STAMP): pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml) | $(BIN)/python
	$(INSTALL) pip hatchling editables
	$(INSTALL) --no-build-isolation --group test --group lint -e . $(addprefix -e ,$(PLUGINS))
	touch $@

$(DOCS): $(STAMP)
	$(INSTALL) --group docs
	touch $@
