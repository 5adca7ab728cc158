# Everything that a developer or CI runs; `make` alone lists it. All of it happens in .venv and build/.

# The suite starts thousands of processes: each would compile the whole package again.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PYTEST := $(VENV)/bin/python -m pytest
# Test processes: four more than cores, for many tests wait for a broker's clock.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 4)
# Fewer here: each test process starts brokers of its own, and restarts them.
FAULT_WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)

# Make has no other way to name a space.
space := $(subst ,, )

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test faults killers faults-cluster brokers check lint format fuzz mutate conformance matrix variants nats-newest bench desk-shots compat django-tasks paperless wheel wheel-check sbom lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Show what it does: over a thousand messages, two languages, two brokers (offline, under a minute)
	@$(VENV)/bin/python examples/survey/demo.py

test: $(VENV)/.dev brokers ## Run every test but the faults (about 25 minutes on two cores); CI=true measures branch coverage too
	@sh scripts/test.sh rules --quiet --numprocesses $(WORKERS) --dist worksteal

faults: $(VENV)/.dev brokers ## Kill, cut off, fill up and freeze the brokers and the workers; DRIVERS="amqp nats" for some
	@sh scripts/test.sh whole --quiet --numprocesses $(FAULT_WORKERS) --dist worksteal $(if $(DRIVERS),-k "$(subst $(space), or ,$(strip $(DRIVERS)))")

killers: $(VENV)/.dev brokers ## Kill workers by their messages and between two steps, and publishers of unique messages, on every driver; DRIVERS="sqlite" for one
	@CAMPAIGN=1 $(PYTEST) tests/faults/test_killers.py tests/faults/test_moves.py tests/faults/test_uniques.py --quiet --numprocesses 2 $(if $(DRIVERS),-k $(DRIVERS))

faults-cluster: $(VENV)/.dev brokers ## Run the long campaigns on real clusters that lose a node; DRIVERS="amqp nats" for some
	@$(PYTEST) tests/faults -m cluster --quiet --numprocesses 0 --timeout 600 $(if $(DRIVERS),-k "$(subst $(space), or ,$(strip $(DRIVERS)))")

brokers: ## Install the brokers, and the browser, that the tests start (with apt, as root; else it says what to install)
	@sh scripts/brokers.sh

check: lint ## Format, lint, types, layers, spelling, words, unit tests, typing tests
	@$(PYTEST) tests/unit tests/typing --quiet --numprocesses $(WORKERS)

lint: $(VENV)/.dev ## Format, lint, types, layers, spelling, words
	@$(VENV)/bin/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/codespell *.md docs src scripts examples Makefile .ci .github
	@$(VENV)/bin/python scripts/words.py

format: $(VENV)/.dev ## Put the code into its format
	@$(VENV)/bin/ruff check --quiet --fix-only .
	@$(VENV)/bin/ruff format .

fuzz: $(VENV)/.fuzz ## Fuzz each target for a minute; SECONDS=600 for longer; by coverage where there is a wheel for it
	@for target in loader json msgpack pattern policy rights stripper typed lua values; do \
		$(VENV)/bin/python -m tests.fuzz $$target $(or $(SECONDS),60) || exit 1; done

mutate: $(VENV)/.dev brokers ## Break each driver and store, and each lease and fence above them, on purpose; tests must notice; DRIVERS="redis" for some drivers
	@$(VENV)/bin/python -m tests.conformance.mutate $(DRIVERS)
	@$(if $(DRIVERS),,$(VENV)/bin/python -m tests.fences)

matrix: $(VENV)/.dev brokers ## Run the conformance suite on every driver, and write docs/drivers.md
	@rm -f build/conformance.json
	@$(PYTEST) tests/conformance -m 'not cluster' --quiet --numprocesses $(WORKERS) --ignore-glob '*/test_mutants.py'
	@$(VENV)/bin/python scripts/drivers.py --record

conformance: $(VENV)/.dev ## Run the conformance suites of drivers and stores; DRIVERS="memory sqlite" for some
	@$(PYTEST) $(if $(DRIVERS),$(foreach driver,$(DRIVERS),tests/conformance/test_$(driver).py \
		$(wildcard tests/conformance/stores/test_$(driver).py)),tests/conformance) \
		--quiet --numprocesses $(WORKERS)

variants: $(VENV)/.dev brokers ## Run the conformance suite on Valkey, behind a Sentinel, in a Redis Cluster, through PgBouncer
	@$(PYTEST) tests/conformance -m variant --quiet --numprocesses $(WORKERS)

nats-newest: $(VENV)/.dev brokers ## Run the tests of NATS on the newest server that a package brings
	@sh scripts/nats-newest.sh --quiet --numprocesses $(WORKERS)

bench: $(VENV)/.dev ## Measure throughput and latency here
	@$(VENV)/bin/python -m tests.benchmarks

desk-shots: $(VENV)/.dev brokers ## Take pictures of the desk's pages, in build/shots
	@$(VENV)/bin/python scripts/desk_shots.py

compat: $(VENV)/.dev brokers ## Unit tests and some drivers on the other Pythons of this machine; VERSIONS="3.12 3.13" for some
	@WORKERS=$(WORKERS) sh scripts/compat.sh $(VERSIONS)

django-tasks: $(VENV)/.dev ## Run the tests of django.tasks, from Django's source package, against TasukiBackend; VERSIONS="3.12" for one
	@sh scripts/django-tasks.sh $(VERSIONS)

paperless: ## Port paperless-ngx, a Celery application, to Tasuki: its tests on both, and kill -9; needs the network
	@sh scripts/paperless.sh

wheel: $(VENV)/.dev ## Build the wheel into dist/
	@rm -rf dist
	@$(VENV)/bin/python -m pip --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

wheel-check: wheel ## Install the wheel into a bare environment, with each extra too, and use it
	@sh scripts/wheel-check.sh dist/*.whl

sbom: wheel ## List the packages of the wheel and its extras beside it (CycloneDX), and hold them to the pinned hashes
	@sh scripts/sbom.sh dist/*.whl

lock: ## Pin the requirements again; UV="--upgrade" takes the newest, UV="--upgrade-package click" one
	@sh scripts/lock.sh $(UV)

clean: ## Remove all that make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

# What was installed last, and for which requirements: a second run starts at once.
$(VENV)/.run: requirements/run.txt pyproject.toml
	@PYTHON='$(PYTHON)' sh scripts/venv.sh $(VENV) requirements/run.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	@PYTHON='$(PYTHON)' sh scripts/venv.sh $(VENV) requirements/dev.txt
	@touch $(VENV)/.run $@

# Without it the targets are fuzzed blindly.
$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.txt
	@$(VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes --only-binary :all: \
		-r requirements/fuzz.txt || echo "without coverage: requirements/fuzz.txt cannot be installed here"
	@touch $@
