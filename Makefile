# README's two commands are `make demo` and `make test`; both build their own
# virtual environment in .venv on first use.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Bytecode is kept, whatever the shell says: tests start dozens of processes.
export PYTHONDONTWRITEBYTECODE :=
STAMP  := $(VENV)/.installed

.PHONY: demo test test-all test-browser lint docs pages bench clean

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
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu"

test-all: lint
	$(BIN)/python -m pytest -n 2 -m "not gpu"

# The explorer in JupyterLab, in a real browser; needs chromium.
test-browser: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest -s tests/test_explorer.py -k browser

docs: $(STAMP)
	$(BIN)/python docs/build.py

# All notebooks with full settings (QUICK=1: small ones), as pages of the documentation.
pages: $(STAMP)
	$(BIN)/python notebooks/render.py $(if $(QUICK),--quick)
	$(MAKE) docs

bench: $(STAMP)
	$(BIN)/python -m benchmarks.simulation
	$(BIN)/python -m benchmarks.dispersion
	$(BIN)/python -m benchmarks.maps
	$(BIN)/python -m benchmarks.lyapunov
	$(BIN)/python -m benchmarks.bifurcations
	$(BIN)/python -m benchmarks.sweeps
	$(BIN)/python -m benchmarks.spiking
	$(BIN)/python -m benchmarks.delays

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
