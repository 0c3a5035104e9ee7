"""Is dvc.lock what the code, the parameters and the committed results say it is? Needs neither data nor a GPU.

In: the project's folder, as DVC sees it. Out: what is stale, stage by stage.

What git leaves out (models, prepared data) is missing in a fresh clone, and DVC calls it deleted; so it is judged by
dvc.lock alone, in which every file has one md5, whichever stage makes or reads it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

from comparisons import history
from stages.kit.faults import Fault, one_line

FILE = "dvc.lock"
OWN = ("data/source", "data/weights")  # the user's own files, of which git holds the least part
COMMITTED = (FILE, "dvc.yaml", "params.yaml", "metrics", "plots", "report", "stages", "predict.py")

Stale = dict[str, list[str]]  # stage → what about it is not as dvc.lock has it


def stale(since: str) -> Stale:
    """What `dvc repro` would have to make anew, apart from what only the data could tell. Empty: dvc.lock is fresh."""
    try:
        with Repo() as project:
            status = project.status()
            known = {stage.addressing: {entry.def_path: entry.hash_info.value for entry in [*stage.deps, *stage.outs]
                                        if isinstance(entry.hash_info.value, str | None)}
                     for stage in project.index.stages}
    except (DvcException, OSError) as error:
        raise Fault(f"dvc status: {one_line(error)}") from None
    found = defaultdict(list)
    for stage, what in [*_changed(status, known), *_at_odds(known), *_own(since, known)]:
        if what not in found[stage]:
            found[stage].append(what)
    return {stage: found[stage] for stage in known if stage in found}  # in the pipeline's order


def _changed(status: Mapping[str, list], known: Mapping[str, Mapping]) -> Iterator[tuple[str, str]]:
    """What DVC's status says of each stage, without what a clone can't know. See `dvc status --json`."""
    entries = [(stage, entry) for stage, told in status.items() for entry in told]
    paths = {path for _, entry in entries if isinstance(entry, dict) for group in entry.values() for path in group}
    unknowable = history.ignored(sorted(paths)) | set(OWN)
    for stage, entry in entries:
        if isinstance(entry, str):  # "changed command"
            yield stage, entry
            continue
        for path, state in ((path, state) for group in entry.values() for path, state in group.items()):
            if isinstance(state, dict):
                yield from ((stage, f"`{path}`: `{key}` {word}") for key, word in state.items())
            elif path not in unknowable:
                yield stage, f"`{path}` {state}"
            elif known.get(stage, {}).get(path) is None:
                yield stage, f"`{path}` not in {FILE}"


def _at_odds(known: Mapping[str, Mapping]) -> Iterator[tuple[str, str]]:
    """Files with several md5s in dvc.lock, as a merge by hand leaves them."""
    first = {}
    for stage, entries in known.items():
        for path, md5 in entries.items():
            stage_before, before = first.setdefault(path, (stage, md5))
            if md5 and before and md5 != before:
                yield stage, f"`{path}` in {FILE} is another than {stage_before}'s"


def _own(since: str, known: Mapping[str, Mapping]) -> Iterator[tuple[str, str]]:
    """Files that git does hold in the user's folders (overrides.csv), changed while dvc.lock's entry stayed."""
    for folder in OWN:
        files = history.changed(since, folder)
        for stage, entries in known.items():
            if files and folder in entries and entries[folder] == locked(history.text(since, FILE), stage, folder):
                yield stage, f"`{files[0]}` modified"


def text() -> str | None:
    path = Path(FILE)
    return path.read_text(encoding="utf-8") if path.is_file() else None


def locked(lock: str | None, stage: str, path: str) -> str | None:
    """The md5 of a stage's dep in the text of a dvc.lock."""
    stages = (yaml.safe_load(lock or "") or {}).get("stages") or {}
    return next((dep.get("md5") for dep in stages.get(stage, {}).get("deps", []) if dep["path"] == path), None)


def said(found: Stale) -> str:
    """Markdown."""
    waiting = history.uncommitted(*COMMITTED)
    note = f"\n\nNot committed yet: {listed(waiting)}." if waiting else ""
    if not found:
        return ("**dvc.lock is fresh**: it belongs to this code, these parameters and these results. (Not looked at: "
                f"what git doesn't hold, and {', '.join(OWN)}.){note}")
    return "\n".join(["**dvc.lock is stale**: the figures below were measured on an earlier state of this project.", "",
                      *(f"- `{stage}`: {listed(what)}" for stage, what in found.items()), "",
                      f"Run `dvc repro`, then commit `dvc.lock`, `metrics/`, `plots/` and `report/`.{note}"])


def listed(words: list[str], most: int = 6) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
