# Everything that a developer or CI runs; `make` alone lists it. All of it happens in .venv and build/.

# The suite starts thousands of processes: each would compile the whole package again.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PYTEST := $(VENV)/bin/python -m pytest
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
# Test processes: four more than cores, for many tests wait for a broker's clock.
WORKERS ?= $(shell expr $(CORES) + 4)
# Fewer here: each test process starts brokers of its own, and restarts them.
FAULT_WORKERS ?= $(shell expr $(CORES) + 2)

# Make has no other way to name a space.
space := $(subst ,, )
# Of the tests, those of the drivers in DRIVERS.
named = $(if $(DRIVERS),-k "$(subst $(space), or ,$(strip $(DRIVERS)))")
# The conformance suites of some drivers, and of their stores.
suites = $(foreach driver,$(1),tests/conformance/test_$(driver).py $(wildcard tests/conformance/stores/test_$(driver).py))
COMPUTING := $(addprefix tests/,unit typing fences fuzz)
RULES := $(addprefix tests/unit/,registry security kinds schedules/times observe queues/dead dead/batches/rules)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo quick check test nightly campaign coverage faults kills faults-cluster brokers lint format fuzz mutate conformance matrix variants nats-newest bench compare desk-shots docs compat django-tasks paperless wheel wheel-check sbom lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Show what it does: over a thousand messages, two languages, two brokers (offline, under a minute)
	@$(VENV)/bin/python examples/survey/demo.py

quick: $(VENV)/.dev ## Test the rules that need no loop: after each edit (20 seconds)
	@$(PYTEST) $(RULES) --quiet --numprocesses $(CORES)

check: lint ## Format, lint, types, layers, spelling, words; unit tests, the suites of memory and SQLite: before each commit
	@$(PYTEST) tests/unit $(call suites,memory sqlite) --quiet --numprocesses $(CORES) --dist worksteal

test: $(VENV)/.dev brokers ## Run the suite, on every driver: before each push (about 11 minutes on two cores)
	@echo "two halves at once: each prints what it found when it ends, the first in about 6 minutes"
	@$(MAKE) --no-print-directory --keep-going --jobs 2 --output-sync=target computing waiting

# No test of the suite takes as long: its process says where each thread is, and ends.
HANGS := --override-ini faulthandler_timeout=360
# Two halves, at once: what computes needs a process for each core, what waits for brokers some more.
.PHONY: computing waiting
computing:
	@sh scripts/test.sh $(COMPUTING) $(HANGS) -o cache_dir=.pytest_cache/computing --quiet --numprocesses $(CORES) --dist worksteal
waiting:
	@sh scripts/test.sh tests $(addprefix --ignore ,$(COMPUTING)) $(HANGS) -o cache_dir=.pytest_cache/waiting --quiet --numprocesses $(WORKERS) --dist worksteal

nightly: lint brokers ## Run every test, with coverage, every variant and every Python (hours)
	@CI=true $(MAKE) --no-print-directory --keep-going coverage variants wheel-check sbom demo compat django-tasks nats-newest

campaign: $(VENV)/.dev brokers ## Run what takes a day: kills, clusters, mutants, fuzzing, a ported application, figures
	@CI=true $(MAKE) --no-print-directory --keep-going kills faults-cluster mutate fuzz paperless bench

coverage: $(VENV)/.dev brokers ## Run every test, faults too, and hold branch coverage to its shares
	@sh scripts/coverage.sh --every --quiet --numprocesses $(FAULT_WORKERS) --dist worksteal

faults: $(VENV)/.dev brokers ## Kill, cut off, fill up and freeze the brokers and the workers; DRIVERS="amqp nats" for some
	@sh scripts/test.sh tests/faults --every --quiet --numprocesses $(FAULT_WORKERS) --dist worksteal $(named)

kills: $(VENV)/.dev brokers ## Run the long forms: hundreds of kills and freezes, millions of messages; DRIVERS="sqlite" for one
	@CAMPAIGN=1 $(PYTEST) $$(grep -rl --include='test_*.py' CAMPAIGN tests) --every --quiet --numprocesses $(CORES) $(named)

faults-cluster: $(VENV)/.dev brokers ## Run the long campaigns on real clusters that lose a node; DRIVERS="amqp nats" for some
	@$(PYTEST) tests/faults -m cluster --every --quiet --numprocesses 0 --timeout 600 $(named)

brokers: ## Install the brokers, and the browser, that the tests start (with apt, as root; else it says what to install)
	@sh scripts/brokers.sh

lint: $(VENV)/.dev ## Format, lint, types, layers, spelling, words, size
	@$(VENV)/bin/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy --num-workers $(CORES)
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/codespell *.md docs src scripts examples Makefile .ci .github
	@$(VENV)/bin/python scripts/words.py
	@$(VENV)/bin/python scripts/size.py

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
	@$(PYTEST) tests/conformance --every -m 'not cluster' --quiet --numprocesses $(WORKERS) --ignore-glob '*/test_mutants.py'
	@$(VENV)/bin/python scripts/drivers.py --record

conformance: $(VENV)/.dev ## Run the conformance suites of drivers and stores; DRIVERS="memory sqlite" for some
	@$(PYTEST) $(if $(DRIVERS),$(call suites,$(DRIVERS)),tests/conformance) --every --quiet --numprocesses $(WORKERS)

variants: $(VENV)/.dev brokers ## Run the conformance suite on Valkey, behind a Sentinel, in a Redis Cluster, through PgBouncer
	@$(PYTEST) tests/conformance --every -m variant --quiet --numprocesses $(WORKERS)

nats-newest: $(VENV)/.dev brokers ## Run the tests of NATS on the newest server that a package brings
	@sh scripts/nats-newest.sh --quiet --numprocesses $(WORKERS)

bench: $(VENV)/.dev ## Measure throughput, latency and cost here; PARTS="redis lanes" for some, ROUNDS=5, JSON=FILE, AGAINST=FILE
	@$(VENV)/bin/python -m tests.benchmarks $(PARTS) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(JSON),--json $(JSON)) $(if $(AGAINST),--against $(AGAINST))

compare: $(VENV)/.dev ## Compare with other systems, each in its own environment (network); PEERS="rq celery" BROKERS="redis" for some
	@$(VENV)/bin/python -m tests.compare $(if $(PEERS),--peers $(PEERS)) $(if $(BROKERS),--brokers $(BROKERS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(PYTHON),--python $(PYTHON)) $(if $(JSON),--json $(JSON))

desk-shots: $(VENV)/.dev brokers ## Take pictures of the desk's pages, in build/shots
	@$(VENV)/bin/python scripts/desk_shots.py

docs: build/docs/.made ## Build the site of the pages into build/site/en and ja; a warning, or anything from another host, fails
	@build/docs/bin/python scripts/site.py en
	@build/docs/bin/python scripts/site.py ja

compat: $(VENV)/.dev brokers ## Unit tests and some drivers on the other Pythons of this machine; VERSIONS="3.12 3.13" for some
	@WORKERS=$(WORKERS) sh scripts/compat.sh $(VERSIONS)

django-tasks: $(VENV)/.dev ## Run the tests of django.tasks, from Django's source package, against TasukiBackend; VERSIONS="3.12" for one
	@sh scripts/django-tasks.sh $(VERSIONS)

paperless: ## Port paperless-ngx, a Celery application, to Tasuki: its tests on both, and kill -9; needs the network
	@sh scripts/paperless.sh

wheel: $(VENV)/.dev ## Build the three wheels into dist/
	@rm -rf dist
	@$(VENV)/bin/python -m pip --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation -w dist \
		. ./packaging/desk ./packaging/driverkit
	@ls dist/*.whl

wheel-check: wheel ## Install the core into a bare environment, with each extra too, and use it
	@sh scripts/wheel-check.sh dist

sbom: wheel ## List the packages of the wheels and their extras beside them (CycloneDX), and hold them to the pinned hashes
	@sh scripts/sbom.sh dist

lock: wheel ## Pin the requirements again; UV="--upgrade" takes the newest, UV="--upgrade-package click" one
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

build/docs/.made: requirements/docs.txt pyproject.toml
	@PYTHON='$(PYTHON)' sh scripts/venv.sh build/docs requirements/docs.txt
	@touch $@

# Without it the targets are fuzzed blindly.
$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.txt
	@$(VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes --only-binary :all: \
		-r requirements/fuzz.txt || echo "without coverage: requirements/fuzz.txt cannot be installed here"
	@touch $@
