"""Questions to git about the current folder: commits, their files, and what changed since."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from stages.core.errors import UserError


def run(*arguments: str, stdin: str | None = None, allowed: tuple[int, ...] = (0,)) -> str:
    """What git prints. Raises UserError with git's first line where its exit status is not an allowed one."""
    try:
        done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, text=True, encoding="utf-8",
                              errors="surrogateescape")
    except FileNotFoundError:
        raise UserError("git is not installed, or not in PATH") from None
    if done.returncode not in allowed:
        raise UserError(f"git {arguments[0]}: {(done.stderr.strip() or 'failed').splitlines()[0]}")
    return done.stdout


def check_project_folder() -> None:
    """Raises UserError where this folder isn't the project's, or is in no git repository."""
    if not Path("dvc.yaml").is_file():
        raise UserError("dvc.yaml is not here; run this in the project's folder")
    if not run("rev-parse", "--is-inside-work-tree", allowed=(0, 128)).strip():
        raise UserError("this folder is no git repository, so there is nothing to compare with; git init, and commit")


def commit_hash(name: str) -> str | None:
    """The hash of a branch, tag or commit; None if git doesn't know it."""
    return run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}",
               allowed=(0, 1, 128)).strip() or None


def merge_base(base: str) -> str:
    """Hash of the commit at which the current branch left `base`. Raises UserError if there is none."""
    if commit_hash("HEAD") is None:
        raise UserError("there is no commit here yet; commit first")
    if commit_hash(base) is None:
        branch = base.removeprefix("origin/")
        raise UserError(f"{base!r} is no commit in this clone; fetch it (git fetch origin {branch}) or name another "
                        f"(origin/{branch}); in CI, check out with fetch-depth: 0")
    if common := run("merge-base", "--", base, "HEAD", allowed=(0, 1)).strip():
        return common
    if run("rev-parse", "--is-shallow-repository").strip() == "true":
        raise UserError(f"this clone is shallow and doesn't reach back to where the branch left {base}; git fetch "
                        "--unshallow; in CI, check out with fetch-depth: 0")
    raise UserError(f"{base} and this branch have no commit in common, so there is nothing to compare")


def last_change(text: str, path: str) -> str | None:
    """Hash of the last commit that added `text` to a file or removed it; None if no commit did."""
    return run("log", "-1", "--format=%H", f"-S{text}", "--", path).strip() or None


def read(commit: str, path: str) -> str | None:
    """A file of a commit; None if it isn't there."""
    return run("show", f"{commit}:{path}", allowed=(0, 128)) or None


def changed_files(since: str, *paths: str) -> list[str]:
    """Files below `paths` that differ between a commit and the working tree, untracked ones included."""
    changed = run("diff", "--name-only", "--no-renames", "-z", since, "--", *paths)
    untracked = run("ls-files", "--others", "--exclude-standard", "-z", "--", *paths)
    return sorted(filter(None, {*changed.split("\0"), *untracked.split("\0")}))


def ignored(paths: Iterable[str]) -> set[str]:
    """Those of `paths` that .gitignore matches, whether they exist or not."""
    # Git doesn't look beyond a symbolic link (models/ on another disk): then it is asked for the link.
    asked = {path: next((str(above) for above in reversed(Path(path).parents) if above.is_symlink()), path)
             for path in paths}
    matches = run("check-ignore", "-z", "--stdin", stdin="\0".join(asked.values()), allowed=(0, 1)).split("\0")
    return {path for path, place in asked.items() if place in matches}
