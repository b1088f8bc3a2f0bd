# The commands of the project. Each can be run again at any time; what is done already is not done twice.
# Where there is no make: `python tools/setup_env.py lab` and `python -m llama_nb lab`.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help lab test test-full env page format notebooks screenshots bench clean

help:            ## say what there is
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

lab:             ## open JupyterLab on the first notebook (ARGS="--no-browser --port=9999" goes to JupyterLab)
	@$(PYTHON) tools/setup_env.py lab
	@$(BIN)/python -m llama_nb lab $(ARGS)

env:             ## install what the tests need: .venv, npm packages, Chromium
	@$(PYTHON) tools/setup_env.py test

test: env        ## run every check and test but the long ones
	@$(BIN)/python -m tools.gate $(ARGS)

test-full:       ## the same, with the long and heavy tests
	@$(PYTHON) tools/setup_env.py full
	@$(BIN)/python -m tools.gate --full $(ARGS)

page: env        ## build the widgets' and the JupyterLab extension's JavaScript
	@$(BIN)/python -m tools.build_page

format: env      ## format the Python and TypeScript sources
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .
	@$(BIN)/python -m tools.node npm run --silent format

notebooks: env   ## run the notebooks and store their outputs
	@$(BIN)/python -m tools.notebooks run

screenshots: env ## take the pictures of the README in a real JupyterLab
	@$(BIN)/python -m tools.screenshots

bench: env       ## run the benchmarks and write their table
	@$(BIN)/python -m benchmarks $(ARGS)

clean:           ## remove what the commands above installed and cached
	rm -rf .venv labextension/node_modules labextension/lib .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
