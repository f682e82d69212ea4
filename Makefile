# Everything here works on a fresh Debian 12 with Python 3.11; each target does the set-up that it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
SMTP ?= 127.0.0.1:2525
HTTP ?= 127.0.0.1:8080
INPUTS ?= 100000
ROUNDS ?= 50

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
PACKAGE := build/mailkeep_$(VERSION)_$(shell dpkg --print-architecture).deb

# What the tests drive from outside; without one of them its tests say so and are skipped.
TEST_PACKAGES := chromium fonts-dejavu-core fonts-noto-cjk swaks tmux strace e2fsprogs openssl fetchmail getmail6 mpop pebble unbound slapd ldap-utils dovecot-imapd dovecot-pop3d pst-utils

BUILD_PACKAGES := debhelper dh-apparmor dpkg-dev po-debconf python3.11-venv
TEST_DEB_PACKAGES := apparmor lintian man-db mmdebstrap swaks systemd-container

.DEFAULT_GOAL := help
.PHONY: help setup run demo deb build-packages test test-deb test-packages test-deb-packages lint format types layers lock translations pictures faults fuzz bench bench-scale image test-image clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | column -t -s '|'

setup: $(VENV)/.locked ## Make the virtual environment with the locked dependencies and the mailkeep command

$(VENV)/.locked: requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || packaging/need python3.11 python3.11-venv
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || packaging/need python3.11-venv
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

run: setup ## Start mailkeep on this machine (archive in ./data) and say where to go
	@test -e $(DATA)/keyring.json || { $(BIN)/mailkeep --data $(DATA) init --unattended && \
		echo "For something to search: make demo (in a second terminal)."; }
	$(BIN)/mailkeep --data $(DATA) serve --smtp $(SMTP) --http $(HTTP) --allow-plain-swap

demo: setup ## Send a made-up company's mail to the running archive
	$(BIN)/mailkeep --data $(DATA) demo

test: setup test-packages ## Run the tests
	$(BIN)/python -m pytest -m "not bench" -n auto --dist loadfile

test-packages:
	@packaging/need --optional $(TEST_PACKAGES)

lint: setup ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: setup ## Draw the console for the README (docs/pictures)
	$(BIN)/python -m tests.console.pictures docs/pictures

translations: setup ## Collect the texts of console and set-up, and compile their translations
	$(BIN)/python packaging/translations.py

lock: setup ## Write the lock files anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements-dev.lock

deb: $(PACKAGE) ## Build the Debian package into ./build, from the lock file, the same bytes each time
	@echo $(PACKAGE)

# Built again only where something that it is made of has changed: contents count, so build/ serves the next clone too.
$(PACKAGE): build/deb/made-of | setup
	nice -n 5 packaging/build-deb build

build/deb/made-of: build-packages
	@mkdir -p build/deb
	@packaging/build-deb --made-of >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

build-packages:
	@packaging/need $(BUILD_PACKAGES)

test-deb: deb test-deb-packages ## Install, upgrade, remove and purge that package on clean Debian 12 machines (as root; fifteen minutes)
	rm -rf build/installed
	$(BIN)/python -m tests.packaging.root $(PACKAGE) build/installed
	MAILKEEP_DEB=$(PACKAGE) MAILKEEP_ROOT=$(CURDIR)/build/installed MAILKEEP_BUILD_TWICE=1 \
		$(BIN)/python -m pytest -m packaging tests/packaging

test-deb-packages:
	@packaging/need --optional $(TEST_DEB_PACKAGES)

faults: setup test-packages ## Kill, cut, break and lose the product ROUNDS times, and look for lost mail
	$(BIN)/python -m tests.faults --rounds $(ROUNDS)
	MAILKEEP_FAULT_STEP=1 MAILKEEP_RESTORE_KILLS=$(ROUNDS) MAILKEEP_COLLECT_KILLS=$(ROUNDS) MAILKEEP_IMPORT_KILLS=20 \
		$(BIN)/python -m pytest -q tests/unit/index/test_index_faults.py \
		tests/unit/cloud/test_replicate_faults.py tests/unit/cloud/test_restore.py tests/faults/test_restore.py \
		tests/console/test_setup_terminal.py tests/faults/test_network.py tests/faults/test_collecting.py \
		tests/faults/test_importing.py tests/integration/test_deleting.py

fuzz: setup ## Feed INPUTS mutated messages to the readers
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS)

bench: setup ## Measure against the peers (Postfix, Dovecot, notmuch, borg)
	@packaging/need postfix dovecot-core dovecot-imapd dovecot-lmtpd dovecot-pop3d isync notmuch borgbackup pst-utils
	$(BIN)/python -m tests.bench

bench-scale: setup ## Project a million messages into 20 shards, and search them with memory for three
	$(BIN)/python -m tests.bench.scale

IMAGE_PACKAGES := mmdebstrap debian-archive-keyring fakeroot qemu-utils fdisk e2fsprogs dosfstools mtools
TEST_IMAGE_PACKAGES := qemu-system-x86 ovmf openssh-client swaks dosfstools mtools

image: setup ## Build the virtual machine (qcow2, VMDK, OVA) in build/, of the package DEB or of one made now
	@packaging/need $(IMAGE_PACKAGES)
	$(if $(DEB),,$(MAKE) deb)
	$(BIN)/python packaging/vm/build.py --out build --deb $(or $(DEB),$$(ls -t build/mailkeep_*_amd64.deb | head -n 1))

test-image: setup ## Start IMAGE (else the last one built) in qemu and use it; writes docs/pictures/tty1.png
	@packaging/need $(TEST_IMAGE_PACKAGES)
	MAILKEEP_IMAGE=$(or $(IMAGE),$$(ls -t build/mailkeep-*.qcow2 | head -n 1)) MAILKEEP_IMAGE_PICTURE=docs/pictures/tty1.png \
		$(BIN)/python -m pytest -m packaging tests/packaging/test_image.py

clean: ## Remove what can be made again (never an archive)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
