.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
export TF_CPP_MIN_LOG_LEVEL ?= 2
PY := $(VENV)/bin/python
# What was written as NAME=VALUE behind `make` goes to the notebook, which checks names and values.
PARAMETERS = $(filter-out PYTHON=% VENV=% GPU=% RUNS=%,$(MAKEOVERRIDES))

.PHONY: help setup lab test results collect
.SECONDARY:

help:  ## print this list
	@echo "Learned image colorization in Keras: five papers, reproduced. Targets:"
	@sed -nE 's/^([a-z%-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
	@echo "Parameters, for example: make reproduce-polychromify PROFILE=paper EPOCHS=3 SYSTEMS=cnn,polychromify SEED=1"

setup: $(VENV)/.ready  ## make .venv and install requirements.txt (GPU=1: with TensorFlow's CUDA libraries)

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(if $(GPU),$(PY) -m pip install --quiet --disable-pip-version-check "tensorflow[and-cuda]==$$($(PY) -c 'import importlib.metadata as m; print(m.version("tensorflow"))')")
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

reproduce-%: setup  ## run a paper's notebook and print its table: autoencoders, polychromify, resnet-mrf, unet, vacgan
	@$(PY) -m colorize_lib reproduce $* $(PARAMETERS)

data-%: setup  ## fetch, verify and prepare a dataset: tiny-imagenet, cifar10, coco, yosemite, places, photos
	@$(PY) -m data_prep $*

lab: setup  ## open JupyterLab on the notebooks
	$(VENV)/bin/jupyter lab notebooks

results: setup  ## write README's tables and results/index.html anew; RUNS="runs/PAPER/KEY …" collects finished runs first
	@$(PY) -m colorize_lib results $(RUNS)

collect: setup  ## the same, where RUNS="runs/PAPER/KEY …" must be given
	@$(PY) -m colorize_lib results $(or $(RUNS),$(error RUNS= names the run folders to collect))

test: setup  ## ruff, pytest, and the notebooks against their committed outputs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m pytest --durations=10
	$(PY) -m pytest --nbval --nbval-current-env --nbval-cell-timeout=600 --nbval-sanitize-with tests/nbval.cfg notebooks
