# Everything here works in a fresh clone with Python 3.11 or later, make and git.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-slow browser lint check format clean bench-verdict bench-step-cost reproduce bench-ensemble bench-loss-kernels bench-bytes-a-row bench-demo bench-demo-setting bench-deploy bench-in-sample bench-store bench-cached-training bench-search bench-teacher-pass bench-losses bench-tables bench-tables-autogluon bench-recipe pages images

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev,docs]'
	touch $@

demo: $(STAMP)
	$(BIN)/attar demo

# Two processes of one thread each: a test that needs more says so.
test: $(STAMP) browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadscope

test-slow: $(STAMP) browser
	$(BIN)/python -m pytest

# The report page is tested in a real browser: Debian's Chromium, which root gets here by itself.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
	  || { echo "The tests need Chromium and could not get it. Install it, then go on:" \
	       "sudo apt-get install chromium"; exit 1; }; }

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: test lint

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Each benchmark writes benchmarks/<name>/results.json, which is committed.
bench-verdict: $(STAMP)
	$(BIN)/python benchmarks/verdict/run.py
	$(BIN)/python benchmarks/verdict/null.py

bench-step-cost: $(STAMP)
	$(BIN)/python benchmarks/step_cost/run.py

bench-demo: $(STAMP)
	$(BIN)/python benchmarks/demo/run.py

bench-demo-setting: $(STAMP)
	$(BIN)/python benchmarks/demo_setting/run.py

.PHONY: docs docs-serve
# The documentation site, into site/: any warning fails. `make docs-serve` shows it as you write.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# The result pages of the docs and the README's table, made from the committed results.
pages: $(STAMP)
	$(BIN)/python benchmarks/pages.py

# The pictures of the README, from the page of a fresh demo.
images: $(STAMP) browser
	rm -rf runs/images/demo
	$(BIN)/attar demo --out runs/images/demo
	$(BIN)/python docs/images/take.py runs/images/demo

bench-deploy: $(STAMP)
	$(BIN)/python benchmarks/deploy/run.py

bench-loss-kernels: $(STAMP)
	$(BIN)/python benchmarks/loss_kernels/run.py

bench-bytes-a-row: $(STAMP)
	$(BIN)/python benchmarks/bytes_a_row/run.py

# Hinton, Vinyals and Dean (2015) on MNIST, table by table, each of 40 minutes at most on two
# cores; what was stopped goes on where it was. One table: make reproduce TABLES=plain
TABLES ?=
reproduce: $(STAMP)
	$(BIN)/python benchmarks/hinton/run.py $(TABLES)
ifeq ($(TABLES),)
	$(BIN)/python benchmarks/ensemble/run.py
endif

bench-ensemble: $(STAMP)
	$(BIN)/python benchmarks/ensemble/run.py

bench-in-sample: $(STAMP)
	$(BIN)/python benchmarks/in_sample/run.py

# Shuffled reads of the store beside other layouts, and opening ten million rows: 6 GB of disk.
bench-store: $(STAMP)
	$(BIN)/python benchmarks/store/run.py

# Every loss at equal budgets: what it costs, what it gives on digits. 10 minutes.
bench-losses: $(STAMP)
	$(BIN)/python benchmarks/losses/run.py

# How fast a teacher answers as Attar asks it, beside every fixed setting: four minutes.
bench-teacher-pass: $(STAMP)
	$(BIN)/python benchmarks/teacher_pass/run.py

# Training from stored targets beside loops that ask the teacher at every step: 12 minutes.
bench-cached-training: $(STAMP)
	$(BIN)/python benchmarks/cached_training/run.py

# Students of tables, taught by a stack of trees: about 15 minutes for a large table on one core.
bench-tables: $(STAMP)
	$(BIN)/python benchmarks/tables/run.py

# AutoGluon's distillation on the same tables: installs 1.1 GB into the cache, half an hour of a core.
bench-tables-autogluon: $(STAMP)
	$(BIN)/python benchmarks/tables/autogluon_peer.py

# What makes distillation win, lever by lever, and the recipe on the tasks kept for the end: some hours
# of a core; goes on where it was stopped.
bench-recipe: $(STAMP)
	$(BIN)/python benchmarks/recipe/run.py develop
	$(BIN)/python benchmarks/recipe/run.py open

# The search for T, alpha and loss beside every setting that there is: some minutes.
bench-search: $(STAMP)
	$(BIN)/python benchmarks/search/run.py

clean:
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache
