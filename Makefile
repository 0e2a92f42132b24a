# `make` lists the targets. GNU make 3.81 (macOS) and bash are enough.
SHELL := bash

# make run PYTHON=python3.12
PYTHON ?= python3
# PyTorch's CPU build: make run PIP_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu'
PIP_ARGS ?=
# make test TEST_ARGS='-k splits' JOBS=1
TEST_ARGS ?=
JOBS ?= $(shell .venv/bin/python -c "import os; print(min(8, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()))")

# The stamp of a finished installation holds the folder that it was made in: an environment does not survive a copy.
VENV := .venv/installed
MADE_IN := $(shell .venv/bin/python -c "print(open('$(VENV)').read().strip())" 2>/dev/null)
ifneq "$(MADE_IN)" "$(CURDIR)"
.PHONY: $(VENV)
endif
# DVC starts each stage as `python -m ...`, with the python that comes first on PATH.
IN_VENV := PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: help run example test test-all test-services test-faults bench ui lint format schema constraints clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

run: $(VENV)  ## install, run what changed (dvc repro), show the scores
	@# A folder without git (a tarball) needs to say so to DVC; one that has become a clone no longer does.
	@if git rev-parse --git-dir >/dev/null 2>&1; \
	then ! grep -qs no_scm .dvc/config.local || .venv/bin/dvc config --quiet --local --unset core.no_scm; \
	else grep -qs no_scm .dvc/config.local || .venv/bin/dvc config --quiet --local core.no_scm true; fi
	@$(IN_VENV) .venv/bin/dvc repro
	@$(IN_VENV) .venv/bin/reprise summary

example: $(VENV)  ## run examples/TASK in a temporary clone: make example TASK=causal-lm
	@test -n "$(TASK)" -a -f "examples/$(TASK)/params.yaml" || { echo "make example TASK=...; there are:" \
	$(sort $(notdir $(patsubst %/,%,$(dir $(wildcard examples/*/params.yaml))))); exit 1; }
	@# `python -m pipeline.cli` is `reprise` with the code of the clone.
	@set -e; clone=$$(mktemp -d)/$(TASK); git clone --quiet . "$$clone"; \
	cd "$$clone"; $(IN_VENV) python -m pipeline.cli params "examples/$(TASK)/params.yaml"; \
	$(IN_VENV) dvc repro; $(IN_VENV) python -m pipeline.cli summary; \
	printf 'It is in a folder of its own, in which the commands above work:\n\n    cd %q && source %q\n' \
	"$$clone" "$(CURDIR)/.venv/bin/activate"

test: $(VENV)  ## install, run the whole test suite
	@$(IN_VENV) .venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(TEST_ARGS)

test-all: $(VENV)  ## the same, and the wide matrices of what it tests one case of
	@$(IN_VENV) .venv/bin/python -m pytest -m 'not slow and not services' -n $(JOBS) --dist worksteal $(TEST_ARGS)

test-services: $(VENV)  ## install and start PostgreSQL, an S3 store and MLflow, and test on them
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt \
	-e '.[dev,remote,services]'
	@# Without PostgreSQL and without the right to install it, the tests fail, and say what they need.
	@if [ -z "$$DATABASE_URL" ] && ! command -v postgres >/dev/null && ! ls /usr/lib/postgresql/*/bin/postgres \
	>/dev/null 2>&1 && command -v apt-get >/dev/null; then \
	if [ "$$(id -u)" = 0 ]; then apt-get install -qq -y postgresql; \
	elif sudo -n true 2>/dev/null; then sudo -n apt-get install -qq -y postgresql; fi; fi
	@$(IN_VENV) .venv/bin/python -m pytest -m services --durations=0 $(TEST_ARGS)

test-faults: $(VENV)  ## kill, fill and crowd: the slow proofs that nothing is lost (half an hour)
	@$(IN_VENV) .venv/bin/python -m pytest -m slow -s --durations=0 $(TEST_ARGS)

bench: $(VENV)  ## time this beside Trainer, Lightning and Accelerate (an hour): make bench MODEL=all-MiniLM-L6-v2
	@$(IN_VENV) .venv/bin/python -m benchmarks.training.run
	@$(IN_VENV) .venv/bin/python -m benchmarks.start_up
	@test -z "$(MODEL)" || $(IN_VENV) .venv/bin/python -m benchmarks.tokenization "$(MODEL)"

ui: $(VENV)  ## open MLflow on the charts of the training runs
	@$(IN_VENV) .venv/bin/reprise ui

lint: $(VENV)  ## check style (ruff), types (mypy), layers and the files of CI, and change nothing
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/test_layers.py
	@.venv/bin/zizmor --offline --quiet .github
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml

format: $(VENV)  ## format the code, and mend what ruff can mend
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

schema: $(VENV)  ## write params.schema.json anew, after a change of pipeline/params/
	@.venv/bin/python -m pipeline.params_file

constraints:  ## pin today's newest versions in constraints.txt; test them before you commit
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && set -o pipefail && $(PYTHON) -m venv "$$folder" \
	&& "$$folder/bin/python" -m pip install $(PIP_ARGS) -e '.[dev]' && head -n 1 constraints.txt > "$$folder/pins" \
	&& "$$folder/bin/python" -m pip freeze --all --exclude pip --exclude-editable \
	| grep -vE '^(cuda|nvidia|triton)' | sed 's/+.*//' | LC_ALL=C sort -f >> "$$folder/pins" \
	&& cp "$$folder/pins" constraints.txt

clean:  ## remove caches; results, checkpoints and the environment stay
	@find . \( -path ./.venv -o -path ./.git -o -path ./.dvc \) -prune -o -type d \
	\( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache

$(VENV): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Reprise needs Python 3.11 or newer, and \
	$(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])'
	@if [ "$$(cat $(VENV) 2>/dev/null || pwd)" != "$(CURDIR)" ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; \
	then rm -rf .venv && $(PYTHON) -m venv .venv; fi
	@echo 'Installing what constraints.txt pins into .venv. This takes some minutes, once.'
	@# Of pip's many lines only the big downloads show. The grep ends with 1 where it found no line: no failure.
	@set -o pipefail; .venv/bin/python -m pip install --disable-pip-version-check $(PIP_ARGS) \
	-c constraints.txt -e '.[dev]' \
	| { grep --line-buffered -oE 'Downloading .*\([0-9]{2,}(\.[0-9]+)? [MG]B\)|Installing collected packages' || true; }
	@pwd > $(VENV)
