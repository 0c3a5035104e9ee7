"""Writes params.yaml from a preset: the keys and comments of presets/defaults.yaml, with the preset's values.

    python -m tools.preset                     the presets, each with what its file says about it
    python -m tools.preset scenes              writes params.yaml, unless the one there has been edited
    python -m tools.preset scenes --force      writes it all the same
    python -m tools.preset scenes --print      prints it instead

What presets/<name>.yaml may hold: stages/setup/presets.py.
"""

import argparse
import textwrap

from stages.core import errors, params
from stages.setup import presets


def write(name: str, force: bool) -> None:
    """Write params.yaml. Raises UserError where the present one has been edited."""
    new = presets.text(name)
    presets.check_unedited(force)
    presets.write(new)
    print(f"{params.FILE} is now the preset {name}:\n{presets.about(name)}", end="")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.preset", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="one of " + ", ".join(presets.names()))
    parser.add_argument("--force", action="store_true", help="overwrite a params.yaml that has been edited")
    parser.add_argument("--print", action="store_true", help="print it, and write nothing")
    options = parser.parse_args()
    if not options.name:
        for name in presets.names():
            print(f"{name}\n{textwrap.indent(presets.about(name), '    ')}", end="")
    elif options.print:
        print(presets.text(options.name), end="")
    else:
        write(options.name, options.force)


if __name__ == "__main__":
    errors.run(main)
