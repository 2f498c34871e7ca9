.DEFAULT_GOAL := help
SHELL := /bin/bash
# The first one that runs: a name can be there without a Python behind it, as those of pyenv are. Without any, setup says so.
FITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do $$name -c '$(FITS)' 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
export TF_CPP_MIN_LOG_LEVEL ?= 2
PY := $(VENV)/bin/python
# Each NAME=VALUE that follows `make` goes to the notebook, which checks names and values.
PARAMETERS = $(filter-out PYTHON=% VENV=% GPU=% BACKEND=% OFFLINE=% RUNS=% ROWS=% PHOTOGRAPHS=% MODULES=% JUPYTER_FLAGS=%,$(MAKEOVERRIDES))
# BACKEND=jax leaves TensorFlow out; OFFLINE=FOLDER installs from wheels in a folder.
REQUIREMENTS = $(if $(filter jax,$(BACKEND)),requirements-jax.txt,requirements.txt)
CUDA = $(if $(filter jax,$(BACKEND)),jax[cuda12],tensorflow[and-cuda])
CUDA_PIN = "$(CUDA)==$$($(PY) -c 'import importlib.metadata as m; print(m.version("$(firstword $(subst [, ,$(CUDA)))"))')"
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check $(if $(OFFLINE),--no-index --find-links $(OFFLINE))

PAPERS = $(shell awk -F '[][]' '/^\[[a-z-]+\]/ {key = $$2} /^title =/ {title = key} /^notebook =/ && title == key {print key}' colorize_lib/papers.toml)

.PHONY: help setup reproduce-all wheelhouse bundle lab app turing-test test test-browser lint check-notebooks notebooks mutants soak coverage bench audit results collect
.SECONDARY:

help:  ## print this list
	@echo "Learned image colorization in Keras: papers, reproduced. Targets:"
	@sed -nE 's/^([a-z%-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
	@echo "Papers: $(PAPERS)"
	@echo "Parameters, for example: make reproduce-polychromify PROFILE=paper EPOCHS=3 SYSTEMS=cnn,polychromify SEED=1"

setup: $(VENV)/.ready  ## make .venv and install requirements.txt (GPU=1: CUDA libraries; BACKEND=jax: no TensorFlow; OFFLINE=wheelhouse)

$(VENV)/.ready: $(REQUIREMENTS) pyproject.toml
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo "$(or $(PYTHON),python3) is no Python from 3.11 to 3.13: install one of them, or name it, for example make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -r $(REQUIREMENTS)
	$(if $(GPU),$(INSTALL) $(CUDA_PIN))
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

wheelhouse: setup  ## collect the wheels of requirements.txt (GPU=1, BACKEND=jax as for setup) for a similar machine without network
	$(PY) -m pip download --quiet --disable-pip-version-check -d wheelhouse -r $(REQUIREMENTS) $(if $(GPU),$(CUDA_PIN))

bundle: setup  ## one archive for a machine without network: code, wheelhouse/ and DATA="cifar10 photos", in parts with PART=500M
	@$(PY) -m colorize_lib bundle $(or $(DATA),$(error DATA= names the prepared datasets to include)) $(if $(PART),--part $(PART))

reproduce-all: setup  ## run all papers one after another, with a table at the end
	@$(PY) -m colorize_lib reproduce all $(PARAMETERS)

reproduce-%: setup  ## run a paper's notebook and print its table next to the paper's; comparison: all designs on equal terms; natural: train the bundled colorizer
	@$(PY) -m colorize_lib reproduce $* $(PARAMETERS)

data-%: setup  ## fetch, verify and prepare a dataset; `python -m data_prep list` names them
	@$(PY) -m data_prep $*

# For the two pages: RUNS= run folders, PORT=, OPEN=1 lets other machines in, PUBLIC= name of a reverse proxy, DATASET= of the Turing test.
PAGE = $(addprefix --run ,$(RUNS)) $(addprefix --port ,$(PORT)) $(if $(OPEN),--open-to-others) $(addprefix --public-name ,$(PUBLIC))

app: setup  ## colorize photographs by a click: a page on this machine (RUNS="runs/…" adds networks of runs)
	@$(PY) -m colorize_lib app $(PAGE)

turing-test: setup  ## can people tell the difference? a page on this machine (RUNS="runs/…" tests the networks of runs)
	@$(PY) -m colorize_lib turing-test $(PAGE) $(addprefix --dataset ,$(DATASET))

lab: setup  ## open JupyterLab on the notebooks, with runs/ and results/ in reach (JUPYTER_FLAGS="--no-browser --port 9000")
	$(VENV)/bin/jupyter lab --ServerApp.root_dir=$(CURDIR) --LabApp.default_url=/lab/tree/notebooks \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(JUPYTER_FLAGS)

results: setup  ## write the generated documents; RUNS="runs/PAPER/KEY …" collects finished runs first
	@$(PY) -m colorize_lib results $(RUNS)
	@$(PY) -m benchmarks table > /dev/null

collect: setup  ## collect finished runs, RUNS="runs/PAPER/KEY …", and write the documents of results/
	@$(PY) -m colorize_lib results $(or $(RUNS),$(error RUNS= names the run folders to collect))

test-browser: setup  ## the two pages, and a notebook in JupyterLab, in headless Chromium
	COLORIZE_BROWSER=1 $(PY) -m pytest tests/apps/test_browser.py tests/test_lab.py -rs

lint: setup  ## ruff: faults and format of the code
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

check-notebooks: setup  ## the quickest check of the notebooks: executed, without errors, with one skeleton
	$(PY) -m pytest tests/test_notebooks.py -m 'not long'

notebooks: setup  ## run all notebooks in the quick profile and leave the executed ones in executed/
	$(VENV)/bin/jupyter nbconvert --to notebook --execute --output-dir executed notebooks/*.ipynb

mutants: setup  ## plant small faults and see whether the tests notice (MODULES="colorize_lib/color" for some; hours)
	$(PY) tests/mutants.py $(MODULES)
	$(if $(MODULES),,$(PY) tests/sabotage.py)

test: lint  ## ruff, pytest on TensorFlow and on JAX, and the notebooks against their committed outputs
	$(PY) -m pytest -n 2 --durations=10
	KERAS_BACKEND=jax $(PY) -m pytest -n 2 -m 'not long' --durations=10 tests/benchmarks tests/color tests/evaluation tests/training
	$(PY) -m pytest -n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=600 --nbval-sanitize-with tests/nbval.cfg \
	  $(filter-out notebooks/comparison.ipynb,$(wildcard notebooks/*.ipynb))

soak: setup  ## the tests that take too long for `make test`: twenty kills of each kind, notebooks with other parameters, 50 visitors
	COLORIZE_SOAK=1 $(PY) -m pytest tests/acceleration/test_registered.py tests/models/test_autoencoders.py tests/reproduction/test_natural_training.py \
	  tests/training/test_devices.py tests/benchmarks tests/test_faults.py tests/test_mutations.py tests/test_notebooks.py tests/apps/test_web_load.py --durations=0
	KERAS_BACKEND=jax $(PY) -m pytest -n 2
	$(PY) -m pytest --nbval --nbval-current-env --nbval-cell-timeout=600 --nbval-sanitize-with tests/nbval.cfg notebooks/comparison.ipynb

coverage: setup  ## the share of the code that the tests run, and the lines that they miss
	$(PY) -m pytest --cov=colorize_lib --cov=data_prep --cov-report=term-missing:skip-covered

bench: setup  ## measure speed and memory into results/bench.json (about an hour; ROWS="lab scoring" measures some)
	$(PY) -m benchmarks measure $(ROWS) $(addprefix --photographs ,$(PHOTOGRAPHS))

audit: setup  ## look for known vulnerabilities of the pinned packages; needs the network
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	.venv-audit/bin/pip-audit --strict --requirement requirements.txt --no-deps --disable-pip
