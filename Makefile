# README's two commands are `make demo` and `make test`; both build their own
# virtual environment in .venv on first use.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-all lint bench clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[tests]'
	touch $@

demo: $(STAMP)
	$(BIN)/ngnmm demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu"

bench: $(STAMP)
	$(BIN)/python -m benchmarks.simulation
	$(BIN)/python -m benchmarks.dispersion
	$(BIN)/python -m benchmarks.maps
	$(BIN)/python -m benchmarks.lyapunov
	$(BIN)/python -m benchmarks.bifurcations
	$(BIN)/python -m benchmarks.sweeps

clean:
	rm -rf $(VENV) .jax_cache build dist .mypy_cache .ruff_cache .pytest_cache
