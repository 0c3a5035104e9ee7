"""Is the run the same elsewhere? `make` in a fresh clone, in a folder with an odd name, by a user without rights,
without HOME, with LC_ALL=C, with a Python of one's choice; what comes out is compared with a finished run.

    python -m benchmarks.elsewhere FINISHED [--python .venv/bin/python] [--params FILE]

FINISHED is a folder in which `make` has run on the same code and parameters. Needs root, to become that user, who has
to be able to read the Python.

Out: a table on stdout; exit status 1 if a file differs that holds no times.
"""

import argparse
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import copies
from stages.core import errors

NAME = "Ein \"schräger' Ordner, mit $x"
USER = "nobody"
PATHS = "/usr/local/bin:/usr/bin:/bin"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elsewhere", description=__doc__.splitlines()[0])
    parser.add_argument("finished", type=Path, help="the folder of a finished run")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of a virtual environment that has "
                        "this project's requirements")
    parser.add_argument("--params", type=Path, help="used in place of params.yaml, as in the finished run")
    options = parser.parse_args()
    environment = options.python.absolute().parents[1]
    if not (environment / "pyvenv.cfg").is_file():
        raise errors.UserError(f"--python {options.python} is in no virtual environment; name its bin/python")
    if os.geteuid():
        raise errors.UserError(f"only root can become {USER}; run this as root")
    with tempfile.TemporaryDirectory() as space:
        Path(space).chmod(0o755)
        folder, log = clone(Path(space, NAME), environment, options.params), Path(space, "log")
        started = time.monotonic()
        copies.finish(start_make(folder, log), log)
        print(f"the run as {USER}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        sys.exit(not copies.print_comparison(options.finished, folder))


def clone(folder: Path, environment: Path, params: Path | None) -> Path:
    """What git holds, without dvc.lock and outs, whose .venv is that environment; all of it belongs to the user."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", copies.ROOT, folder], check=True)
    copies.remove_outs(folder)
    if params:
        shutil.copy(params, folder / "params.yaml")
    (folder / ".venv").symlink_to(environment)
    owner = pwd.getpwnam(USER)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return folder


def start_make(folder: Path, log: Path) -> subprocess.Popen:
    """.venv is taken as it is."""
    owner = pwd.getpwnam(USER)
    with open(log, "ab") as output:
        return subprocess.Popen(["make", "--old-file=.venv/ready"], cwd=folder, env={"PATH": PATHS, "LC_ALL": "C"},
                                user=owner.pw_uid, group=owner.pw_gid, extra_groups=[], umask=0o022,
                                stdin=subprocess.DEVNULL, stdout=output, stderr=output)


if __name__ == "__main__":
    errors.run(main)
