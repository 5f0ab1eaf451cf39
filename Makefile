# make demo   install everything into .venv and run the main job on the demo scene
# make test   install everything into .venv and run every check
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test quick check format clean

demo: .venv/installed
	$(BIN)/aerial-deblur demo

test: check
	$(BIN)/python -m pytest -W error

quick: .venv/installed
	$(BIN)/python -m pytest -W error -m "not slow"

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, got " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
