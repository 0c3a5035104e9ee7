"""Says what the images' source holds, so that another file beside it in data/source/ does not make fetch run again.

reads   what `data.source` names in data/source/; nothing of an embedded set or a URL, which stand for themselves
writes  data/source.json: the name, and the SHA-256 of what lies there
"""

from pathlib import Path

from stages.core import errors, files, params
from stages.data import origin

FILE = Path("data/source.json")


def main() -> None:
    data = params.load("data", origin.SourceParams)
    path = origin.local(data)
    files.write_json(FILE, {"source": data.source, "sha256": origin.digest(path) if path else data.sha256})


if __name__ == "__main__":
    errors.run(main)
