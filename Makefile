# The verbs of the project, the same on a laptop and in CI; `make help` lists them.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 5000
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.requirements
DEVELOPMENT := $(VENV)/.requirements-dev
MEASURING := $(VENV)/.requirements-bench
MYSQLCLIENT := $(VENV)/.requirements-mysqlclient

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run shell test test-all test-app test-mariadb test-mysqlclient test-server test-faults test-transfer test-openapi test-page test-nginx test-newcomer stack-test bench bench-check format lint check audit lock clean

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## migrate the database and serve on http://HOST:PORT, by default 127.0.0.1:5000
	@$(BIN)/python manage.py db upgrade
	@exec $(BIN)/python manage.py runserver -h $(HOST) -p $(PORT)

shell: $(RUNTIME) ## migrate the database and open a Python shell with app, db and User
	@$(BIN)/python manage.py db upgrade
	@exec $(BIN)/python manage.py shell

test: $(DEVELOPMENT) ## the application's tests, with coverage: what to run before a commit
	@$(BIN)/python -m e2e.suites $(SUITES) test-app

test-all: $(DEVELOPMENT) ## all the suites below whose programs are on this machine
	@$(BIN)/python -m e2e.suites $(SUITES) --all

test-app: $(DEVELOPMENT) ## the application's tests, on SQLite or on DATABASE_TEST_URL
	@echo "== The application's tests, with coverage"
	@$(BIN)/python manage.py cov --jobs $(JOBS)

test-mariadb: $(DEVELOPMENT) ## the application's and the server's tests on a MariaDB of their own
	@echo "== The application's tests on MariaDB, with coverage"
	@COVERAGE_FILE=.coverage.mariadb $(BIN)/python -m e2e.on_mariadb $(BIN)/python manage.py cov --jobs $(JOBS)
	@echo "== What each kind of request costs on MariaDB"
	@$(BIN)/python -m e2e.on_mariadb $(BIN)/python -m bench.costs
	@echo "== The server on MariaDB"
	@$(BIN)/python -m e2e.on_mariadb $(BIN)/python -m unittest -v e2e.test_server e2e.test_sign_in e2e.test_recipes
	@echo "== Backups between SQLite and MariaDB"
	@$(BIN)/python -m unittest -v e2e.test_backup
	@echo "== Right and wrong database URLs, with TLS"
	@$(BIN)/python -m unittest -v e2e.test_database_url

test-mysqlclient: $(DEVELOPMENT) $(MYSQLCLIENT) ## the same through mysqlclient instead of PyMySQL
	@echo "== The application's tests through mysqlclient"
	@$(BIN)/python -m e2e.on_mariadb --driver mysqldb $(BIN)/python manage.py test --jobs $(JOBS)
	@echo "== The server through mysqlclient"
	@$(BIN)/python -m e2e.on_mariadb --driver mysqldb $(BIN)/python -m unittest -v e2e.test_server

test-server: $(DEVELOPMENT) ## real server processes over HTTP, and the examples of README, docs/ and examples/
	@echo "== The server on SQLite"
	@$(BIN)/python -m unittest -v e2e.test_server e2e.test_sign_in e2e.test_recipes e2e.test_examples

test-faults: $(DEVELOPMENT) ## what production does to a service: databases and processes that die or freeze
	@echo "== Faults"
	@$(BIN)/python -m unittest -v e2e.test_faults

test-transfer: $(DEVELOPMENT) ## 100,000 users in, listed, searched, out, and into another database
	@echo "== Import and export"
	@$(BIN)/python -m unittest -v e2e.test_transfer

test-openapi: $(DEVELOPMENT) ## what the API does against what its description says, by Schemathesis
	@echo "== The API against its description"
	@$(BIN)/python -m unittest -v e2e.test_openapi

test-page: $(DEVELOPMENT) ## the pages in a real Chromium
	@echo "== The pages in Chromium"
	@$(BIN)/python -m unittest -v e2e.test_page e2e.test_docs

test-nginx: $(DEVELOPMENT) ## nginx's files under a real nginx
	@echo "== nginx"
	@$(BIN)/python -m unittest -v e2e.test_nginx

test-newcomer: $(DEVELOPMENT) ## what the README tells a newcomer to do, on a fresh copy
	@echo "== The newcomer's way"
	@$(BIN)/python -m unittest -v e2e.test_newcomer

bench: $(MEASURING) ## measure all that docs/performance.md tells, and write it there; takes an hour
	@$(BIN)/python -m bench.contest
	@$(BIN)/python -m bench.hot_path
	@$(BIN)/python -m bench.growth
	@$(BIN)/python -m bench.transfer

bench-check: $(MEASURING) ## whether the servers that `make bench` compares answer alike
	@echo "== The contenders of the benchmark"
	@$(BIN)/python -m bench.contest --check --users 2000

stack-test: $(DEVELOPMENT) ## both Compose stacks, built and run for real; needs a Docker engine
	@echo "== The stacks in containers"
	@$(BIN)/python -m unittest -v e2e.test_stack

check: lint test ## lint, and the application's tests with coverage; passes on every commit

format: $(DEVELOPMENT) ## format the code, and correct what ruff can correct by itself
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

lint: $(DEVELOPMENT) ## lint, format, types, import rule, dangers, spelling, costs of requests
	@echo "== Lint and format"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@echo "== Types"
	@$(BIN)/mypy
	@echo "== Imports flow down only"
	@$(BIN)/lint-imports --no-logo
	@echo "== Dangers in the code"
	@$(BIN)/bandit -q -ll -c pyproject.toml -r project manage.py gunicorn.conf.py
	@echo "== Spelling"
	@$(BIN)/codespell
	@echo "== What each kind of request costs"
	@$(BIN)/python -m bench.costs

audit: $(DEVELOPMENT) ## ask an outside service which locked versions have known flaws
	@$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.txt

lock: $(DEVELOPMENT) ## choose the versions in requirements*.txt anew
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -o requirements.txt requirements.in
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -c requirements.txt -o requirements-dev.txt requirements-dev.in
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -c requirements-dev.txt -o requirements-bench.txt requirements-bench.in
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -o requirements-mysqlclient.txt requirements-mysqlclient.in

clean: ## remove .venv and what the tools have left; the databases in instance/ stay
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; PYTHON=/path/to/python3 names another." >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt into $(VENV); the first time this takes a minute"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r requirements.txt
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	@echo "Installing requirements-dev.txt into $(VENV); the first time this takes a minute"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r requirements-dev.txt
	@touch $@

$(MEASURING): requirements-bench.txt $(DEVELOPMENT)
	@echo "Installing requirements-bench.txt into $(VENV); the first time this takes a minute"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r requirements-bench.txt
	@touch $@

$(MYSQLCLIENT): requirements-mysqlclient.txt $(RUNTIME)
	@echo "Installing requirements-mysqlclient.txt into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r requirements-mysqlclient.txt
	@touch $@
