# What a developer does with this repository; `make` lists it.

# A Python of your choice: make venv PYTHON=/opt/python/bin/python3
PYTHON ?=
# For one pytest in the place of all suites: make test PYTEST_ARGS='tests/unit -k locale'
PYTEST_ARGS ?=
# How many suites run side by side: make test AT_ONCE=1
AT_ONCE ?=
# What to measure: make bench BENCH_ARGS='5000', or '--only standalone 10000'
BENCH_ARGS ?=
# Which faults: make chaos SEED=seven SEQUENCES=50 PART=A
SEED ?=
SEQUENCES ?= 10
PART ?= AB
CHAOS_ARGS ?=
# How much to fuzz: make fuzz SEED=seven CASES=100000; FUZZ_ARGS='--only amqp091', or '--replay ...'
CASES ?= 5000
FUZZ_ARGS ?=

BIN := .venv/bin
PYTEST = $(BIN)/pytest --durations=15 --durations-min=1
# Touched when the virtual environment is made, and when everything is installed in it.
MADE := .venv/.made
INSTALLED := .venv/.installed

# What mypy reads. The demo's modules import each other by their plain names.
TYPED := operator tests examples/demo image deploy/krew
check: export MYPYPATH = examples/demo:image
# Test helpers, for what is not started by pytest.
demo bench pictures reference recording chaos chaos-bugs fuzz: export PYTHONPATH = tests

.DEFAULT_GOAL := help
.PHONY: help venv amqp10 rabbitmq brokers apiserver tools prometheus faketime http-peers amqp10-peers demo test test-unit test-contract test-faults test-broker test-brokers test-chart test-cluster test-image test-chaos test-fuzz chaos chaos-bugs fuzz test-kind node test-node check format crds chart kustomize krew metrics-page reasons image image-builder bench pictures constraints docs docs-serve reference recording clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

venv: $(INSTALLED) ## Make .venv with Springline and its tools (needs Python 3.11 or later)
	@echo "Springline is installed: $(BIN)/springline --help"

amqp10: $(INSTALLED) ## Build the library for AMQP 1.0 in .venv, unless it is there (needs a C compiler)
	@tests/support/install-amqp10.sh $(BIN)/python

rabbitmq: ## Install RabbitMQ from Debian's packages, unless it is there
	@tests/support/install-rabbitmq.sh

brokers: rabbitmq ## Get a newer RabbitMQ too, for the tests that run on both, unless it is there
	@tests/support/install-newer-rabbitmq.sh

apiserver: ## Get kube-apiserver, its controllers and etcd for the cluster tests, unless they are there
	@tests/support/install-apiserver.sh

tools: $(INSTALLED) ## Get kubectl and Helm for the cluster tests, unless they are there
	@tests/support/install-tools.sh
	@PYTHONPATH=tests $(BIN)/python -m support.monitors
	@PYTHONPATH=tests $(BIN)/python -m support.gitops
	@PYTHONPATH=tests $(BIN)/python -m support.compose
	@PYTHONPATH=tests $(BIN)/python -m support.krew

prometheus: ## Get Prometheus and promtool for the tests that use them, unless they are there
	@tests/support/install-prometheus.sh

faketime: ## Get libfaketime for the tests that set a wall clock, unless it is there
	@tests/support/install-faketime.sh

http-peers: $(INSTALLED) ## Get nginx and nghttpd for the tests with real HTTP servers, unless they are there
	@tests/support/install-http-peers.sh

amqp10-peers: $(INSTALLED) brokers ## Get the brokers that speak AMQP 1.0 to the tests, unless they are there
	@tests/support/install-newer-rabbitmq.sh native-rabbitmq.packages
	@PYTHONPATH=tests $(BIN)/python -m support.java_peers

demo: $(INSTALLED) rabbitmq ## See Springline at work with a real broker, in under a minute
	@$(BIN)/python examples/demo/walkthrough.py

test: $(INSTALLED) brokers faketime http-peers amqp10-peers apiserver tools prometheus image-builder ## Run all suites, or what PYTEST_ARGS='...' says
ifeq ($(strip $(PYTEST_ARGS)),)
	@PYTHONPATH=tests $(BIN)/python -m support.brokers
	@PYTHONPATH=tests $(BIN)/python -m support.suites $(if $(AT_ONCE),--at-once $(AT_ONCE))
else
	@$(PYTEST) $(PYTEST_ARGS)
endif

test-unit: $(INSTALLED) http-peers ## Run one suite: single modules, among fakes (two minutes)
	@$(PYTEST) tests/unit $(PYTEST_ARGS)

test-contract: $(INSTALLED) ## Run one suite: what every driver promises
	@$(PYTEST) tests/contract $(PYTEST_ARGS)

test-faults: $(INSTALLED) http-peers ## Run one suite: peers that break the protocol
	@$(PYTEST) tests/faults $(PYTEST_ARGS)

test-broker: $(INSTALLED) rabbitmq faketime amqp10-peers ## Run one suite: real brokers
	@$(PYTEST) tests/broker $(PYTEST_ARGS)

test-brokers: $(INSTALLED) brokers faketime amqp10-peers apiserver tools prometheus ## Run what brokers decide on two of them: the installed RabbitMQ, and a newer one
	@PYTHONPATH=tests $(BIN)/python -m support.brokers
	@PYTHONPATH=tests $(BIN)/python -m support.suites $(if $(AT_ONCE),--at-once $(AT_ONCE)) broker-newer broker -- $(PYTEST_ARGS)

test-chart: $(INSTALLED) tools prometheus ## Run one suite: the Helm chart
	@$(PYTEST) tests/chart $(PYTEST_ARGS)

test-cluster: $(INSTALLED) rabbitmq http-peers apiserver tools prometheus ## Run one suite: a real API server, and the operator on it
	@$(PYTEST) tests/cluster $(PYTEST_ARGS)

test-image: $(INSTALLED) image-builder ## Run one suite: the image, what is in it and how it runs
	@$(PYTEST) tests/image $(PYTEST_ARGS)

test-chaos: $(INSTALLED) rabbitmq faketime apiserver tools ## Run one suite: a few sequences of faults (three minutes)
	@$(PYTEST) tests/chaos $(PYTEST_ARGS)

test-fuzz: $(INSTALLED) ## Run one suite: hostile octets and documents (a minute)
	@$(PYTEST) tests/fuzz $(PYTEST_ARGS)

chaos: $(INSTALLED) rabbitmq faketime apiserver tools ## Do faults in random order, and look what holds: SEED=... SEQUENCES=... PART=A
	@$(BIN)/python -m chaos --part $(PART) --seed '$(SEED)' --sequences $(SEQUENCES) $(CHAOS_ARGS)

chaos-bugs: $(INSTALLED) rabbitmq faketime ## Plant six defects, and see that make chaos finds each
	@$(BIN)/python -m chaos --bugs --seed '$(SEED)' $(CHAOS_ARGS)

fuzz: $(INSTALLED) ## Give hostile octets to what takes them from outside: SEED=... CASES=... FUZZ_ARGS=...
	@$(BIN)/python -m fuzz --seed '$(SEED)' --cases $(CASES) $(FUZZ_ARGS)

test-kind: $(INSTALLED) tools ## Run the tests marked kind on a kind cluster (needs docker and kind)
	@tests/support/kind.sh $(PYTEST_ARGS)

node: apiserver image-builder ## Get what the private node of make test-node is made of, unless it is there
	@tests/support/install-node.sh

test-node: $(INSTALLED) node tools ## Run the tests marked kind in real pods, on a private node (as root on Linux)
	@tests/support/node.sh $(BIN)/pytest -m kind -v --durations=0 --durations-min=1 $(or $(PYTEST_ARGS),tests/cluster)

check: $(INSTALLED) ## Check format, lint, types, layers and shell scripts
	@echo "Format and lint:"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@echo "Types:"
	@$(BIN)/mypy $(TYPED)
	@echo "Layers:"
	@$(BIN)/lint-imports --no-logo
	@sh -n image/build.sh
	@sh -n deploy/krew/kubectl-springline
	@sh -n tests/support/install-amqp10.sh
	@sh -n tests/support/install-builder.sh
	@sh -n tests/support/install-rabbitmq.sh
	@sh -n tests/support/install-newer-rabbitmq.sh
	@sh -n tests/support/install-apiserver.sh
	@sh -n tests/support/install-faketime.sh
	@sh -n tests/support/install-http-peers.sh
	@sh -n tests/support/install-prometheus.sh
	@sh -n tests/support/install-tools.sh
	@sh -n tests/support/kind.sh
	@sh -n tests/support/install-node.sh
	@sh -n tests/support/node.sh
	@bash -n .ci/run
	@echo "Shell scripts can be parsed."
	@$(BIN)/properdocs build --strict
	@echo "The documentation's site can be built."

format: $(INSTALLED) ## Format the code, and fix what the linter can fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

crds: $(INSTALLED) ## Write crds/ anew from the models
	@$(BIN)/python -m springline.api.crds crds
	@$(MAKE) --no-print-directory chart

chart: $(INSTALLED) ## Bring the chart in step: definitions from crds/, versions, table of values
	@PYTHONPATH=tests $(BIN)/python -m support.chart_files
	@PYTHONPATH=tests $(BIN)/python -m support.kustomize_base

kustomize: tools ## Write deploy/kustomize anew from the chart
	@PYTHONPATH=tests $(BIN)/python -m support.kustomize_base

krew: $(INSTALLED) ## Build the plugin's archives and manifest for krew in dist/krew; PLATFORMS=... URI=...
	@PYTHONPATH=image $(BIN)/python deploy/krew/pack.py dist/krew $(if $(URI),--uri '$(URI)') $(PLATFORMS)

metrics-page: $(INSTALLED) ## Write the tables of docs/metrics.md anew from the metrics' catalogue
	@PYTHONPATH=tests $(BIN)/python -m support.metrics_page

reasons: $(INSTALLED) ## Write what kubectl springline explains anew from the documentation
	@PYTHONPATH=tests $(BIN)/python -m support.explained_reasons

reference: $(INSTALLED) ## Write docs/reference/ anew from the models and the command line
	@$(BIN)/python -m support.reference_pages

recording: $(INSTALLED) rabbitmq apiserver tools ## Draw the documentation's terminal anew, from a real run
	@$(BIN)/python -m support.recording

# Not --quiet: what is not said is not counted by --strict either.
docs: $(INSTALLED) ## Build the documentation's site in build/site
	@$(BIN)/properdocs build --strict
	@echo "The site is built: build/site/index.html"

docs-serve: $(INSTALLED) ## Show the documentation's site while you write
	@$(BIN)/properdocs serve

image: ## Build the image with docker, podman or buildah; IMAGE=... names it, BUILDER=... says with which
	@IMAGE='$(IMAGE)' BUILDER='$(BUILDER)' BASE='$(BASE)' BUILD_BASE='$(BUILD_BASE)' \
		PLATFORM='$(PLATFORM)' SOURCE='$(SOURCE)' image/build.sh $(BUILD_ARGS)

image-builder: ## Get podman and bases to build on, for the tests of the image, unless they are there
	@tests/support/install-builder.sh

bench: $(INSTALLED) rabbitmq brokers http-peers apiserver tools ## Measure beside a script without an operator (about 25 minutes)
	@$(BIN)/python -m bench $(BENCH_ARGS)

pictures: $(INSTALLED) rabbitmq apiserver tools prometheus ## Draw the dashboard anew for the documentation, in some five minutes
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,pictures]'
	@$(BIN)/python -m pictures docs/images

constraints: $(MADE) ## Write constraints.txt anew, with the newest versions allowed (needs a C compiler)
	@echo "Installing the newest versions that pyproject.toml allows (about a minute)…"
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(BIN)/python -m venv "$$fresh" && \
	"$$fresh/bin/pip" install --quiet --disable-pip-version-check -e '.[dev,docs,pictures,amqp10]' && \
	sed -n '/^#/p' constraints.txt >"$$fresh/new" && \
	"$$fresh/bin/pip" freeze --all --exclude pip --exclude-editable >>"$$fresh/new" && \
	cat "$$fresh/new" >constraints.txt
	@echo "constraints.txt is written; make test says whether Springline works with it."

clean: ## Remove everything that was made here, .venv too
	@rm -rf .venv .cache build dist bench-results htmlcov .coverage .coverage.* .hypothesis
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): $(MADE) pyproject.toml constraints.txt
	@echo "Installing Springline and its tools in .venv (about a minute)…"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@tests/support/install-amqp10.sh $(BIN)/python
	@touch $@

# An interpreter counts only if it runs, is new enough, and can make virtual environments: Debian
# has the latter in a package of its own, and pyenv has commands that only say they are not active.
$(MADE):
	@candidates='$(or $(PYTHON),python3.13 python3.12 python3.11 python3)'; \
	find_python() { \
		for python in $$candidates; do \
			if "$$python" -c "import sys$$1; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; \
			then echo "$$python"; return; fi; \
		done; \
	}; \
	python=$$(find_python ', venv, ensurepip'); \
	if [ -z "$$python$(PYTHON)" ] && [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing python3-venv from Debian's packages…"; \
		export DEBIAN_FRONTEND=noninteractive; \
		get='apt-get install -y --no-install-recommends python3-venv'; \
		{ $$get || { apt-get update && $$get; }; } >/dev/null 2>&1; \
		python=$$(find_python ', venv, ensurepip'); \
	fi; \
	if [ -n "$$python" ]; then "$$python" -m venv .venv && touch $@; exit; fi; \
	python=$$(find_python ''); \
	if [ -n "$$python" ]; then \
		echo "$$python cannot make virtual environments: install its venv module" \
			"(on Debian and Ubuntu the package python3-venv)." >&2; \
	else \
		echo "Springline needs Python 3.11 or later, and none of these is: $$candidates." \
			"Install one, or name one: make venv PYTHON=/path/to/python3" >&2; \
	fi; \
	exit 1
