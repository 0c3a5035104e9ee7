"""Is dvc.lock what the code, the parameters and the committed results say it is? Needs neither data nor a GPU.

In: the project's folder, as DVC sees it. Out: what is stale, stage by stage.

What git leaves out (models, prepared data) is missing in a fresh clone, and DVC calls it deleted; so it is judged by
dvc.lock alone, in which every file has one md5, whichever stage makes or reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from dvc.dependency import Dependency, ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo

from stages.core.errors import UserError, one_line
from tools import history

FILE = "dvc.lock"
OWN = ("data/source", "data/weights")  # the user's own files, of which git holds the least part
COMMITTED = (FILE, "dvc.yaml", "params.yaml", "metrics", "plots", "report", "stages", "predict.py")

Stale = dict[str, list[str]]  # stage → what about it is not as dvc.lock has it
Locked = Mapping[str, Mapping[str, str | None]]  # see `entries`


class Told(NamedTuple):
    """What DVC's status says of one entry of a stage."""

    stage: str
    name: str  # as in `entries`; "": of the whole stage
    state: str  # modified, deleted, …


def stale() -> Stale:
    """What `dvc repro` would have to make anew, apart from what only the data could tell. Empty: dvc.lock is fresh."""
    try:
        with Repo() as project:
            status = project.status()
            written = {stage.addressing: {name for entry in [*stage.deps, *stage.outs] for name in _names(entry)}
                       for stage in project.index.stages if stage.path_in_repo == "dvc.yaml"}
    except (DvcException, OSError) as error:
        raise UserError(f"dvc status: {one_line(error)}") from None
    known, told = entries(text()), list(_told(status))
    found = {stage: [] for stage in [*written, *known]}  # in the pipeline's order, which dvc.lock hasn't
    locked = {stage: known[stage] for stage in found if stage in known}
    for stage, what in [*_changed(told, locked), *_unlike(written, locked), *_at_odds(locked), *_own(told, locked)]:
        if what not in found[stage]:
            found[stage].append(what)
    return {stage: said for stage, said in found.items() if said}


def _names(entry: Dependency | Output) -> list[str]:
    """What dvc.lock has of an entry of dvc.yaml, in the words of `entries`."""
    if isinstance(entry, ParamsDependency):
        return [f"{entry.def_path}: {key}" for key in entry.params]
    return [entry.def_path]


def entries(lock: str | None) -> dict[str, dict[str, str | None]]:
    """The text of a dvc.lock as {stage: {path: md5}}; a parameter is {"params.yaml: distill": None}."""
    stages = (yaml.safe_load(lock or "") or {}).get("stages") or {}
    return {name: {entry["path"]: entry.get("md5") for kind in ("deps", "outs") for entry in stage.get(kind, ())}
                  | {f"{file}: {key}": None for file, keys in stage.get("params", {}).items() for key in keys}
            for name, stage in stages.items()}


def _told(status: Mapping[str, list]) -> Iterator[Told]:
    """DVC's status, a line for each thing that it found changed. See `dvc status --json`."""
    for stage, said in status.items():
        for entry in said:
            if isinstance(entry, str):  # "changed command"
                yield Told(stage, "", entry)
                continue
            for path, state in ((path, state) for group in entry.values() for path, state in group.items()):
                if isinstance(state, dict):
                    yield from (Told(stage, f"{path}: {key}", word) for key, word in state.items())
                else:
                    yield Told(stage, path, state)


def _changed(told: Sequence[Told], locked: Locked) -> Iterator[tuple[str, str]]:
    """What DVC says of the entries of dvc.lock, without what a clone can't know."""
    unknowable = history.ignored({one.name for one in told if one.name}) | set(OWN)
    for stage, name, state in told:
        if stage in locked and not name:
            yield stage, state
        elif name in locked.get(stage, ()) and name not in unknowable:
            yield stage, f"`{name}` {state}"


def _unlike(written: Mapping[str, set[str]], locked: Locked) -> Iterator[tuple[str, str]]:
    """What only one of dvc.yaml and dvc.lock has. Of what left dvc.yaml, DVC says nothing."""
    for stage in [*written, *(locked.keys() - written.keys())]:
        if stage not in locked:
            yield stage, f"not in {FILE}"
        elif stage not in written:
            yield stage, f"no longer in dvc.yaml; take it out of {FILE}, and what it made out of git"
        else:
            yield from ((stage, f"`{name}` not in {FILE}") for name in sorted(written[stage] - locked[stage].keys()))
            yield from ((stage, f"`{name}` no longer in dvc.yaml (`dvc repro --force --single-item {stage}`)")
                        for name in sorted(locked[stage].keys() - written[stage]))


def _at_odds(locked: Locked) -> Iterator[tuple[str, str]]:
    """Files with several md5s in dvc.lock, as a merge by hand or a run of one stage alone leaves them."""
    first = {}
    for stage, names in locked.items():
        for path, md5 in names.items():
            stage_before, before = first.setdefault(path, (stage, md5))
            if md5 and before and md5 != before:
                yield stage, f"`{path}` in {FILE} is another than {stage_before}'s"


def _own(told: Sequence[Told], locked: Locked) -> Iterator[tuple[str, str]]:
    """Files that git does hold in the user's folders (overrides.csv), changed since dvc.lock got its entry.

    An entry that no commit has is of a run made here, with the user's files: then DVC's own word is taken.
    """
    for stage, folder, _ in told:
        if folder in OWN and (md5 := locked.get(stage, {}).get(folder)):
            run = history.introduced(md5, FILE)
            yield from ((stage, f"`{path}` modified") for path in (history.changed(run, folder) if run else [folder]))


def text() -> str | None:
    path = Path(FILE)
    return path.read_text(encoding="utf-8") if path.is_file() else None


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
