.DEFAULT_GOAL := help
.PHONY: help install demo test fast lint lint-all pipeline format train serve

help: ## show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-10s %s\n", $$1, $$2 }'

install: ## make .venv with all packages, those for development too
	./install.sh --local --dev

demo: ## train, start, send traffic, show where to look
	./run_demo.sh --local

test: ## lint, types and all tests
	./run_tests.sh

fast: ## tests that start no server
	./run_tests.sh --fast --tests-only

lint: install ## lint and types, without tests
	./run_tests.sh --lint-only

lint-all: lint ## lint of scripts, images, YAML and pipelines too; scans for secrets
	.ci/lint

pipeline: ## carry out the Jenkinsfile here, up to the stack on scratch
	.ci/tools groovy
	.ci/jenkins/run --with-changes --param BRANCH=HEAD

format: install ## format the Python code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

train: install ## train and publish (two versions on an empty shelf, else the next one)
	.venv/bin/python -m app train

serve: install ## run the api in the foreground
	.venv/bin/python -m app serve
