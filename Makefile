# `make` lists the targets. Each sets up what it needs, at its first run.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# The first Python on the PATH that is 3.11 or later and can make virtual environments.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --require-hashes
# The checkout itself: nothing of it is copied, and nothing is fetched for it.
SELF := $(PIP) install --quiet --no-deps --no-build-isolation --editable .

.PHONY: help demo up down status test soak soak-mutants fuzz-images fuzz-api bench-engine bench-pipeline bench-scale bench-api accuracy lint format lock clean

help: ## List the targets
	@echo "facebatch: who is in these photos?"
	@echo
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo PEOPLE=dir PHOTOS=dir runs the demo on your own photos."

demo: $(VENV)/local ## Set everything up, find the people of a sample in its photos, go on serving
	@$(BIN)/facebatch demo $(if $(PEOPLE),--people "$(PEOPLE)") $(if $(PHOTOS),--photos "$(PHOTOS)")

up: $(VENV)/local ## Serve until interrupted
	@$(BIN)/facebatch up

down: $(VENV)/local ## Stop what `make demo` left serving
	@$(BIN)/facebatch down

status: $(VENV)/local ## Show the parts of the local stack
	@$(BIN)/facebatch status

test: $(VENV)/dev ## Run every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

soak: $(VENV)/dev ## Break every part while photos go in, and look what came of each (ITEMS=2000, SEED=n)
	@$(BIN)/python -m bench.soak $(if $(ITEMS),--items $(ITEMS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak-mutants: $(VENV)/dev ## Take one protection out at a time, and see the soak notice it
	@$(BIN)/python -m bench.soak.mutants $(ARGS)

fuzz-api: $(VENV)/dev ## Send the API what its description allows, and what it does not (COUNT=n, SEED=n)
	@CONTRACT_PHASES=examples,coverage,fuzzing,stateful CONTRACT_CASES=$(or $(COUNT),100) CONTRACT_SEED=$(or $(SEED),1) CONTRACT_TIMEOUT_S=3600 \
		$(BIN)/python -m pytest -q tests/e2e/test_contract.py

bench-engine: $(VENV)/bench ## Compare the engines with face_recognition (PHOTOS=dir: on yours)
	@$(BIN)/python -m bench.engine $(if $(PHOTOS),"$(PHOTOS)") $(ARGS)

bench-pipeline: $(VENV)/dev ## Compare whole jobs with the bare engine (PHOTOS=dir: on yours)
	@$(BIN)/python -m bench.pipeline $(if $(PHOTOS),"$(PHOTOS)") $(ARGS)

bench-scale: $(VENV)/dev ## Run a job of 20,000 photos, and see what others feel of it (ITEMS=n)
	@$(BIN)/python -m bench.scale $(if $(ITEMS),--items $(ITEMS)) $(ARGS)

bench-api: $(VENV)/dev ## Compare accepting photos with a bare route, and time recognitions
	@$(BIN)/python -m bench.api $(ARGS)

accuracy: $(VENV)/bench ## Measure how often the engines err (WRITE_CURVES=1: and keep their curves)
	@$(BIN)/python -m bench.accuracy $(if $(WRITE_CURVES),--write-curves) $(ARGS)

fuzz-images: $(VENV)/dev ## Decode 2,000 broken images (PHOTOS=dir, COUNT=n, SEED=n, ENGINE=name)
	@$(BIN)/python bench/fuzz_images.py $(if $(PHOTOS),--photos "$(PHOTOS)") \
		$(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) $(if $(ENGINE),--engine $(ENGINE))

lint: $(VENV)/dev ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev ## Put the code into its usual form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock" $(LOCK_ARGS)
LOCAL = pyproject.toml --extra web --extra worker --extra command --extra local
lock: $(VENV)/dev ## Pin the dependencies anew (LOCK_ARGS=--upgrade: at their latest versions)
	$(UV_COMPILE) pyproject.toml --extra web --extra command -o requirements/web.txt
	$(UV_COMPILE) pyproject.toml --extra worker -o requirements/worker.txt
	$(UV_COMPILE) $(LOCAL) -o requirements/local.txt
	$(UV_COMPILE) requirements/build.in -o requirements/build.txt
	$(UV_COMPILE) $(LOCAL) --extra dev -o requirements/dev.txt
	$(UV_COMPILE) $(LOCAL) --extra bench -o requirements/bench.txt \
		--constraint requirements/dev.txt --no-emit-package dlib --no-emit-package face-recognition-models

clean: ## Remove the virtual environment and caches (never the stack's data)
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "facebatch needs Python 3.11 or later with its venv module" \
		"(on Debian and Ubuntu: apt-get install python3-venv); or name one: make PYTHON=..." >&2; \
		exit 1; }
	@echo "Making a virtual environment in $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/local: requirements/local.txt pyproject.toml | $(BIN)/python
	@echo "Installing facebatch and what it needs (about a minute, 1.1 GB)"
	@$(INSTALL) -r requirements/local.txt
	@$(SELF)
	@touch $@

$(VENV)/dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing facebatch and what its tests need (about a minute, 1.2 GB)"
	@$(INSTALL) -r requirements/dev.txt
	@$(SELF)
	@touch $@

# --no-deps: face_recognition asks for dlib, and has it from dlib-bin, which pip cannot know.
$(VENV)/bench: requirements/bench.txt pyproject.toml | $(BIN)/python
	@echo "Installing facebatch and what its benchmarks compare it with (about a minute, 1.2 GB)"
	@$(INSTALL) --no-deps -r requirements/bench.txt
	@$(SELF)
	@touch $@
