# Each command does everything it needs: a virtual environment, the install, the run.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
STAMP  := $(VENV)/.installed
EXTRAS := demo,dev,docs,hub,widget,export
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-engines campaign check format bench docs notebooks clean help

help:
	@echo "make demo   find H-neurons in the embedded model, to a report (about four minutes, the install included)"
	@echo "make test   the tests"
	@echo "make test-engines   the tests of vLLM, Ray and llama.cpp, in an environment of their own (some minutes)"
	@echo "make campaign   10,000 hostile inputs, kills and noise (about 40 minutes of two cores); ARGS=\"--inputs 500\" for fewer"
	@echo "make check  ruff, pyright, import-linter"
	@echo "make bench  the benchmarks behind every figure in README and docs"
	@echo "make docs   the documentation with its notebooks run, into docs/_build/html"
	@echo "make notebooks   the lessons, into notebooks/_built/student and /solutions"

demo: $(READY)
	$(BIN)/hlens demo

# In the order of their names: by their number of tests, the pages of the docs, few and long, came last and alone.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test-engines:
	@bash tests/engines/run.sh .venv-engines $(PYTHON) $(ARGS)

campaign: $(STAMP)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m campaign $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

notebooks: $(STAMP)
	$(BIN)/python notebooks/build.py

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

# What a demo needs, and no more; everything else comes when it is first asked for.
$(READY): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hlens needs Python 3.11 or newer; call make PYTHON=python3.11")'
	@echo "Installing PyTorch, TransformerLens and what hlens needs into $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[demo]"
	@touch $@

$(STAMP): $(READY)
	@echo "Installing what tests, checks and docs need into $(VENV)"
	$(PIP) -e ".[$(EXTRAS)]"
	@touch $@

clean:
	rm -rf $(VENV) .venv-engines docs/_build build dist
