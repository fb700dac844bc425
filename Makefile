# Each target sets up what it needs: an environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DOCS := $(VENV)/.ready-docs

.PHONY: demo test test-slow coverage lint docs docs-serve wheel bench clean

demo: $(READY) ## predict a bundled recording with all three frameworks and draw it: demo/demo.png
	$(BIN)/python scripts/demo.py

# Two processes of one thread each: most of the time goes into compiling, which does not share cores
test: $(READY) ## all tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(READY) ## the slow tests: memory of an hour of audio, training runs
	$(BIN)/python -m pytest -m slow -s

coverage: $(READY) ## the tests of `make test`, and which lines they ran: a table, and pages in htmlcov/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report term --cov-report html

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Without --quiet, which would also keep warnings from strict mode
docs: $(READY_DOCS) ## the site of docs/, built into site/; a warning or a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	$(BIN)/python scripts/check_site.py site

docs-serve: $(READY_DOCS) ## the site at http://127.0.0.1:8000, built again after each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

wheel: $(READY) ## build the wheel and use it in clean environments, with onnx, torch and jax alone
	$(BIN)/python scripts/check_wheel.py

bench: $(READY) ## speed of all frameworks on this machine
	$(BIN)/rmvpe benchmark

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 10) and sys.exit("rmvpe needs Python 3.10 or later, and $(PYTHON) is " + sys.version.split()[0] + ": run make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all,dev]"
	touch $(READY)

# Apart from the rest, so that `make test` installs nothing for the site
$(READY_DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $(READY_DOCS)

clean:
	rm -rf $(VENV) demo dist site htmlcov .coverage
