# make demo: see it work. make test: prove it. Both set everything up in .venv, once.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test integrations lint docs package clean

demo: $(READY)
	@$(BIN)/collapse-logging demo

test: $(READY)
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup

# the recipes in the libraries that they are for; these live apart, they pin each other
INTEGRATIONS = .venv-integrations

integrations: $(INTEGRATIONS)/.ready
	@$(INTEGRATIONS)/bin/python -m pytest tests/integrations --durations=5

$(INTEGRATIONS)/.ready: setup.cfg constraints.txt constraints-integrations.txt
	@echo "setting up $(INTEGRATIONS) (once, a few minutes) ..."
	@$(PYTHON) -m venv $(INTEGRATIONS)
	@$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-integrations.txt -e '.[integrations]'
	@touch $@

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html"

# what a stranger gets: the wheel, alone in an empty environment
package: $(READY)
	@rm -rf dist build/empty
	@$(BIN)/python -m build
	@$(BIN)/twine check --strict dist/*
	@$(PYTHON) -m venv build/empty
	@build/empty/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt "$$(ls dist/*.whl)[demo]"
	@cd build/empty && bin/collapse-logging demo --steps 100
	@rm -rf build/empty

$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "expected Python 3.10 or newer, got %d.%d; try: make PYTHON=python3.12 ..." % v[:2])'
	@echo "setting up $(VENV) (once, a few minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(INTEGRATIONS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
