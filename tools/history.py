"""What git knows about this project: commits, files of theirs, and what git doesn't hold. Asks git alone."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from stages.core.errors import UserError


def git(*arguments: str, given: str | None = None, allowed: tuple[int, ...] = (0,)) -> str:
    """What git prints. Raises UserError with git's own first line where its exit status is not among those allowed."""
    try:
        done = subprocess.run(["git", *arguments], input=given, capture_output=True, text=True, encoding="utf-8",
                              errors="surrogateescape")
    except FileNotFoundError:
        raise UserError("git is not installed here, or not in PATH") from None
    if done.returncode not in allowed:
        raise UserError(f"git {arguments[0]}: {(done.stderr.strip() or 'failed').splitlines()[0]}")
    return done.stdout


def check_place() -> None:
    """Raises UserError where this folder isn't the project's, or git doesn't keep it."""
    if not Path("dvc.yaml").is_file():
        raise UserError("dvc.yaml is not here; run this in the project's folder")
    if not git("rev-parse", "--is-inside-work-tree", allowed=(0, 128)).strip():
        raise UserError("this folder is no git repository, so there is nothing to compare with; git init, and commit")


def commit(name: str) -> str | None:
    """The hash of a branch, tag or commit; None for a name that git doesn't know."""
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}",
               allowed=(0, 1, 128)).strip() or None


def parting(base: str) -> str:
    """Hash of the commit at which this branch left `base`: what a pull request is compared with. Raises UserError."""
    if commit("HEAD") is None:
        raise UserError("there is no commit here yet; commit first")
    if commit(base) is None:
        branch = base.removeprefix("origin/")
        raise UserError(f"{base!r} is no commit known here; fetch it (git fetch origin {branch}) or name another "
                    f"(origin/{branch}); in CI, check out with fetch-depth: 0")
    found = git("merge-base", "--", base, "HEAD", allowed=(0, 1)).strip()
    if not found and git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise UserError(f"this clone is shallow and doesn't reach back to where the branch left {base}; git fetch "
                    "--unshallow; in CI, check out with fetch-depth: 0")
    if not found:
        raise UserError(f"{base} and this branch have no commit in common, so there is nothing to compare")
    return found


def ahead(base: str, since: str) -> int:
    """Commits of `base` that this branch lacks."""
    return int(git("rev-list", "--count", f"{since}..{base}", "--"))


def introduced(words: str, path: str) -> str | None:
    """Hash of the last commit that put `words` into a file; None where no commit did."""
    return git("log", "-1", "--format=%H", f"-S{words}", "--", path).strip() or None


def text(revision: str, path: str) -> str | None:
    """A file of a commit; None where that commit doesn't have it."""
    return git("show", f"{revision}:{path}", allowed=(0, 128)) or None


def holds(revision: str, path: str) -> bool:
    return bool(git("ls-tree", "--name-only", revision, "--", path).strip())


def changed(since: str, *paths: str) -> list[str]:
    """Files below `paths` that differ between a commit and the working tree; new ones too, unless git ignores them."""
    told = git("diff", "--name-only", "--no-renames", "-z", since, "--", *paths)
    return sorted(filter(None, {*told.split("\0"), *untracked(*paths)}))


def untracked(*paths: str) -> set[str]:
    return set(filter(None, git("ls-files", "--others", "--exclude-standard", "-z", "--", *paths).split("\0")))


def uncommitted(*paths: str) -> list[str]:
    return changed("HEAD", *paths)


def ignored(paths: Iterable[str]) -> set[str]:
    """Those of `paths` that git leaves out, whether they exist here or not."""
    reached = {path: _reached(path) for path in paths}
    told = git("check-ignore", "-z", "--stdin", given="\0".join(reached.values()), allowed=(0, 1)).split("\0")
    return {path for path, place in reached.items() if place in told}


def _reached(path: str) -> str:
    """The path, or the first symbolic link on the way to it (models on another disk), beyond which git won't look."""
    return next((above.as_posix() for above in reversed(Path(path).parents) if above.is_symlink()), path)
