"""Does dvc.lock match the code, the parameters and the committed results? Answered without data and without a GPU.

What git ignores (models, prepared data) is missing in a fresh clone, where DVC reports it as deleted. Such files are
judged by dvc.lock alone: a file must have the same md5 in every stage that makes or reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.core.errors import UserError, one_line
from tools.comparison import git

FILE = "dvc.lock"
USER_FOLDERS = ("data/source", "data/weights")  # git holds hardly anything of these
COMMITTED = (FILE, "dvc.yaml", "params.yaml", "metrics", "plots", "report", "stages", "predict.py")

Entries = Mapping[str, Mapping[str, str | None]]  # see `entries`
Reasons = Iterator[tuple[str, str]]  # stage, why it is stale


class Change(NamedTuple):
    """One line of `dvc status`."""

    stage: str
    name: str  # as in `entries`; "" for the stage itself
    state: str  # modified, deleted, changed command, …


def stale_stages() -> dict[str, list[str]]:
    """{stage: reasons} of the stages that `dvc repro` would run, as far as can be told without data. Empty: all fresh.
    """
    try:
        with Repo() as project:
            changes = list(_changes(project.status()))
            pipeline = {stage.addressing: {name for entry in [*stage.deps, *stage.outs] for name in (
                [f"{entry.def_path}: {key}" for key in entry.params] if isinstance(entry, ParamsDependency)
                else [entry.def_path])} for stage in project.index.stages if stage.path_in_repo == "dvc.yaml"}
    except (DvcException, OSError) as error:
        raise UserError(f"dvc status: {one_line(error)}") from None
    lock = entries(read())
    stages = [*pipeline, *(lock.keys() - pipeline.keys())]
    lock = {stage: lock[stage] for stage in stages if stage in lock}  # in the pipeline's order
    reasons = [*_modified(changes, lock), *_only_in_one(pipeline, lock), *_conflicting(lock),
               *_user_files(changes, lock)]
    by_stage = {stage: list(dict.fromkeys(reason for owner, reason in reasons if owner == stage)) for stage in stages}
    return {stage: texts for stage, texts in by_stage.items() if texts}


def read() -> str | None:
    return Path(FILE).read_text(encoding="utf-8") if Path(FILE).is_file() else None


def entries(text: str | None) -> dict[str, dict[str, str | None]]:
    """A dvc.lock as {stage: {path: md5}}; a parameter is {"params.yaml: distill": None}."""
    stages = (yaml.safe_load(text or "") or {}).get("stages") or {}
    return {name: {entry["path"]: entry.get("md5") for kind in ("deps", "outs") for entry in stage.get(kind, ())}
                  | {f"{file}: {key}": None for file, keys in stage.get("params", {}).items() for key in keys}
            for name, stage in stages.items()}


def _changes(status: Mapping[str, list]) -> Iterator[Change]:
    """status: as `dvc status --json` has it."""
    for stage, groups in status.items():
        for group in groups:
            if isinstance(group, str):  # "changed command"
                yield Change(stage, "", group)
                continue
            for path, state in ((path, state) for files in group.values() for path, state in files.items()):
                if isinstance(state, dict):
                    yield from (Change(stage, f"{path}: {key}", word) for key, word in state.items())
                else:
                    yield Change(stage, path, state)


def _modified(changes: Sequence[Change], lock: Entries) -> Reasons:
    """Changes of what dvc.lock lists, but for files that a clone doesn't have."""
    not_cloned = git.ignored({change.name for change in changes if change.name}) | set(USER_FOLDERS)
    for stage, name, state in changes:
        if stage in lock and not name:
            yield stage, state
        elif name in lock.get(stage, ()) and name not in not_cloned:
            yield stage, f"`{name}` {state}"


def _only_in_one(pipeline: Mapping[str, set[str]], lock: Entries) -> Reasons:
    """What is in dvc.yaml and not in dvc.lock, or the reverse, which DVC doesn't report."""
    for stage in pipeline:
        if stage not in lock:
            yield stage, f"not in {FILE}"
            continue
        yield from ((stage, f"`{name}` not in {FILE}") for name in sorted(pipeline[stage] - lock[stage].keys()))
        yield from ((stage, f"`{name}` no longer in dvc.yaml (`dvc repro --force --single-item {stage}`)")
                    for name in sorted(lock[stage].keys() - pipeline[stage]))
    for stage in lock.keys() - pipeline.keys():
        yield stage, f"no longer in dvc.yaml; remove it from {FILE}, and its outs from git"


def _conflicting(lock: Entries) -> Reasons:
    """Files with several md5s in dvc.lock, as a merge by hand or a run of one stage alone leaves them."""
    first = {}
    for stage, names in lock.items():
        for path, md5 in names.items():
            first_stage, first_md5 = first.setdefault(path, (stage, md5))
            if md5 and first_md5 and md5 != first_md5:
                yield stage, f"`{path}` in {FILE} has another md5 than in {first_stage}"


def _user_files(changes: Sequence[Change], lock: Entries) -> Reasons:
    """Files in the user's folders that git does hold (overrides.csv), changed since their entry in dvc.lock was made.

    If no commit has that entry yet, the run was made here, with all of the user's files: then DVC's status counts.
    """
    for stage, folder, _ in changes:
        if folder in USER_FOLDERS and (md5 := lock.get(stage, {}).get(folder)):
            run = git.last_change(md5, FILE)
            yield from ((stage, f"`{path}` modified") for path in (git.changed_files(run, folder) if run else [folder]))


def describe(stale: Mapping[str, list[str]]) -> str:
    """Markdown. stale: from `stale_stages`."""
    uncommitted = git.changed_files("HEAD", *COMMITTED)
    note = f"\n\nNot committed yet: {_listed(uncommitted)}." if uncommitted else ""
    if not stale:
        return ("**dvc.lock is fresh**: it belongs to this code, these parameters and these results. (Not checked: "
                f"what git doesn't hold, and {', '.join(USER_FOLDERS)}.){note}")
    return "\n".join(["**dvc.lock is stale**: the figures below were measured on an earlier state of this project.", "",
                      *(f"- `{stage}`: {_listed(reasons)}" for stage, reasons in stale.items()), "",
                      f"Run `dvc repro`, then commit `dvc.lock`, `metrics/`, `plots/` and `report/`.{note}"])


def _listed(words: Sequence[str], most: int = 6) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
