.DEFAULT_GOAL := help
.PHONY: help install demo test fast lint lint-all pipeline cluster format locks train serve

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-10s %s\n", $$1, $$2 }'

install: ## create .venv with all packages, including those for development
	./install.sh --local --dev

demo: ## train, start the service, send traffic, print where to look
	./run_demo.sh --local

test: ## run linters, type checks and all tests
	./run_tests.sh

fast: ## run the tests that start no server
	./run_tests.sh --fast --tests-only

lint: install ## run linters and type checks, no tests
	./run_tests.sh --lint-only

lint-all: lint ## also lint scripts, Dockerfiles, YAML and pipelines, and scan for secrets
	.ci/lint

pipeline: ## run the Jenkinsfile on this machine, with a temporary stack and without a deployment
	.ci/tools groovy
	.ci/jenkins/run --with-changes

cluster: ## roll, scale and kill the pods of kubernetes/ on a real Kubernetes 1.20, which is built here once (as root)
	.ci/engine
	.ci/images
	docker/build.sh --tag cluster --if-changed
	.ci/cluster build
	.ci/cluster up && .venv/bin/python bench/cluster.py --tag cluster --overlay $(or $(OVERLAY),one-node); status=$$?; .ci/cluster down; exit $$status

format: install ## format the Python code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

locks: ## renew the checksums of all pinned packages, after a change of a pin
	.ci/locks

train: install ## train and publish (two versions if the model registry is empty, else the next one)
	.venv/bin/bakeoff train

serve: install ## run the api in the foreground
	.venv/bin/bakeoff serve
