# make demo   install everything into .venv and run the main job on the demo scene
# make test   install everything into .venv and run every check
# make audit  ask PyPI's advisories about every installed version
# make engines   what the tests of Flink and Prism need: a cluster's jars, a job server, a binary
PYTHON ?= python3
BIN := .venv/bin
ENGINES ?= $(HOME)/.cache/aerial-deblur/engines
FLINK := 1.20.5
BEAM := 2.77.0
# Two processes, also on larger machines: most tests need one core, but some start engines of their own.
PYTEST := $(BIN)/python -m pytest -W error --numprocesses 2 --dist loadfile

.PHONY: demo test quick check format audit engines clean

demo: .venv/installed
	$(BIN)/aerial-deblur demo

test: check
	$(PYTEST)

quick: .venv/installed
	$(PYTEST) -m "not slow"

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Without --strict, packages that could not be asked about would count as free of faults.
audit: .venv/installed
	test -x .venv/audit/bin/python || $(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --upgrade pip-audit
	$(BIN)/python -m pip freeze --exclude-editable > .venv/audit/installed.txt
	.venv/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement .venv/audit/installed.txt

.venv/installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, got " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

# Kept outside the checkout: a third of a gigabyte, which changes with the versions alone.
engines: $(ENGINES)/flink-$(FLINK)/lib $(ENGINES)/flink-job-server-$(FLINK).jar $(ENGINES)/prism-$(BEAM)

# The package has no wheel and nothing to build: its archive holds the jars of Flink's own release.
$(ENGINES)/flink-$(FLINK)/lib: | .venv/installed
	mkdir -p $(@D)/download
	$(BIN)/python -m pip download --quiet --no-deps --no-binary :all: --dest $(@D)/download \
		apache-flink-libraries==$(FLINK)
	tar xzf $(@D)/download/*.tar.gz -C $(@D)/download --strip-components=1
	mv $(@D)/download/deps/lib $@
	rm -rf $(@D)/download

$(ENGINES)/flink-job-server-$(FLINK).jar: examples/flink/pom.xml
	mvn --batch-mode --quiet --file $< package -Dflink.version=$(FLINK) -Djar=$@

$(ENGINES)/prism-$(BEAM):
	GOBIN=$(@D)/bin go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$(BEAM)
	mv $(@D)/bin/prism $@
	rmdir $(@D)/bin

clean:
	rm -rf .venv build dist *.egg-info
