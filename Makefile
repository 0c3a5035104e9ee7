# The first `make` of any kind makes .venv from requirements.txt; later ones go straight to work.
# Needs Python 3.11 or newer and the package registry, nothing else. Another Python: make PYTHON=python3.13

PYTHON ?= python3
# By pwd, so that the shell takes the folder's name as it is, whatever stands in it.
# A user without a home, as in some containers, gets one here: DVC asks for it.
VENV := HOME="$${HOME:-$$(pwd)/.dvc/tmp}" PATH="$$(pwd)/.venv/bin:$$PATH"

.PHONY: run new preset search check test fast demo pdf compare diff help

run: .dvc/config.local    ## run the pipeline on params.yaml, as far as it has changed, and print the table
	@$(VENV) python -m tools.dvc_state
	@$(VENV) python -m dvc repro
	@$(VENV) python -m stages.report --table

# Through the environment, since a file's name may hold what a shell or make would act on.
new: override export SOURCE := $(value SOURCE)
new: override export LAYOUT := $(value LAYOUT)
new: override export OPTIONS := $(value OPTIONS)
new: .dvc/config.local    ## write params.yaml for your own images: SOURCE=my.zip, a folder or a URL (over your edits: FORCE=1)
	@$(VENV) python -m stages.new $(if $(FORCE),--force) $${LAYOUT:+--layout "$$LAYOUT"} \
	    $${OPTIONS:+--options "$$OPTIONS"} -- "$$SOURCE"

preset: .dvc/config.local    ## write params.yaml for other data: NAME=scenes; without NAME, list the presets (over your edits: FORCE=1)
	@$(VENV) python -m tools.preset $(NAME) $(if $(FORCE),--force)

search: .dvc/config.local    ## find the student that does best within benchmark.budget (write it into params.yaml: APPLY=1)
	@$(VENV) python -m stages.search $(if $(APPLY),--apply)

check: .dvc/config.local    ## check params.yaml, and every byte of what the stages made and of DVC's copies of it
	@$(VENV) python -m stages.check
	@$(VENV) python -m tools.check_outs

test: .dvc/config.local    ## run the tests
	@$(VENV) python -m pytest --numprocesses auto --dist loadfile

fast: .dvc/config.local    ## run the tests that take no whole stages
	@$(VENV) python -m pytest --numprocesses auto --dist loadfile -m "not slow"

demo: .dvc/config.local    ## make demo/index.html, a page to try the student on (needs Node.js; own pictures in it: GALLERY=12)
	@$(VENV) python -m demo $(if $(GALLERY),--gallery $(GALLERY))

pdf: .dvc/config.local    ## print report/index.html to report/report.pdf (needs Chromium or Chrome)
	@$(VENV) python -m stages.report --pdf

compare: .dvc/config.local    ## what distillation costs beside the plain baseline and beside the naive way
	@$(VENV) python -m benchmarks.distill_cost

# As SOURCE above.
diff: override export BASE := $(if $(value BASE),$(value BASE),main)
diff: override export IMAGES := $(value IMAGES)
diff: .dvc/config.local    ## what this branch changes, as Markdown for its pull request (against another: BASE=v1)
	@$(VENV) python -m tools.pull_request $${IMAGES:+--images "$$IMAGES"} -- "$$BASE"

help:    ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile

# A package index that has torch's CPU builds: torch comes from there alone, and all else from where it always does.
LARGE := some 3.3 GB are downloaded now, 6 GB on the disk; most of it is for NVIDIA GPUs. On a machine without one: \
    make TORCH_INDEX=address-of-an-index-with-the-CPU-builds-of-torch takes a sixth
SMALL := some 0.5 GB are downloaded now, 2 GB on the disk
.venv/ready: override export TORCH_INDEX := $(value TORCH_INDEX)
.venv/ready: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "make: $(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=python3.13" >&2; exit 1; }
	@test ! -L .venv || { \
	    echo "make: .venv is a link, and setting it up would empty what it points to; remove the link first" >&2; exit 1; }
	@echo 'make: $(if $(value TORCH_INDEX),$(SMALL),$(LARGE))' >&2
	$(PYTHON) -m venv --clear .venv
	@test -z "$$TORCH_INDEX" || $(VENV) python -m pip install --disable-pip-version-check --no-deps \
	    --index-url "$$TORCH_INDEX" $$(grep -oE '^torch(vision)?==[^ ]+' requirements.txt)
	$(VENV) python -m pip install --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch .venv/ready

# Also made anew when git comes to a folder that had none.
.dvc/config.local: .venv/ready .dvc/local.py $(wildcard .git/config)
	@$(VENV) python .dvc/local.py
	@touch .dvc/config.local
