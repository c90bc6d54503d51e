# Two commands matter, and each makes the environment first:
#   make repro   run the pipeline of params.yaml, then show what came out
#   make test    run the tests
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help env repro test lint clean

# the first interpreter that is new enough and not too new; the pinned versions were tested with 3.11
PYTHON ?= $(shell for python in python3.11 python3.12 python3.10 python3; do \
	"$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2> /dev/null \
	&& echo "$$python" && break; done)
# `make env CONSTRAINTS=` takes the newest versions that pyproject.toml allows
CONSTRAINTS ?= constraints.txt
WORKERS ?= 2

VENV := .venv
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

env: $(STAMP)  ## the environment in .venv; does nothing when it is up to date

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10-3.12 found; install one or say make env PYTHON=/path/to/it" >&2; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev]'
	touch $@

repro: env  ## run what changed since the last run, then show metrics, model and page
	dvc repro
	@python -m pipeline table

test: env  ## run the tests
	OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: env  ## style, types, and the direction of imports
	ruff check .
	ruff format --check .
	mypy
	lint-imports

clean:  ## forget caches of fetched files, encodings and training; changes no result
	rm -rf .kgrec
