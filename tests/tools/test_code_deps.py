"""python -m tools.code_deps, on a small project whose imports are worked out by hand."""

import sys

import pytest

from tools import code_deps

FILES = {
    "stages/train.py": "from stages.core import files, plugins\nfrom stages.models import factory\n",
    "stages/report.py": "from stages.data import card\nTEMPLATE = 'card.md.j2'\n",
    "stages/core/files.py": "from stages.core import errors\n",
    "stages/core/errors.py": "",
    "stages/core/plugins.py": "",
    "stages/models/factory.py": "def build():\n    return plugins.module('models/zoo/*', name, 'model')\n",
    "stages/models/zoo/small.py": "import stages.models.layers\n",
    "stages/models/layers.py": "",
    "stages/models/unused.py": "",
    "stages/data/card.py": "PAGE = 'card.md.j2'\n",
    "stages/data/card.md.j2": "",
}
# Missing: stages/models/layers.py. Surplus: stages/models/unused.py. All of core is imported, so it is one line.
WRONG = """\
  train:
    cmd: python -m stages.train
    deps:
      - data/prepared
      - stages/models/factory.py
      - stages/core
      - stages/models/unused.py
      - stages/models/zoo/${student.model}.py
      - stages/train.py
    params:
      - data.task
      - student
    outs: [models/student]

"""
RIGHT = """\
  train:
    cmd: python -m stages.train
    deps:
      - data/prepared
      - stages/train.py
      - stages/core
      - stages/models/factory.py
      - stages/models/layers.py
      - stages/models/zoo/${student.model}.py
    params:
      - data.task
      - student
    outs: [models/student]

"""
REPORT = """\
  report:
    cmd: python -m stages.report
    deps:
      - stages/report.py
      - stages/data/card.md.j2
      - stages/data/card.py
    params: [report]
    outs: [report]

"""
HEAD, TAIL = "# What needs what.\nstages:\n", "\nplots:\n  - plots/train.csv:\n      x: epoch\n"


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """The dvc.yaml of a project in a temporary folder, its entry for `train` wrong."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    file = tmp_path / "dvc.yaml"
    file.write_text(HEAD + WRONG + REPORT + TAIL)
    monkeypatch.setattr(code_deps, "ROOT", tmp_path)
    monkeypatch.setattr(code_deps, "PIPELINE", file)
    monkeypatch.setattr(code_deps, "FOLDERS", ("stages/core",))
    cached = (code_deps.nodes, code_deps.imports, code_deps.reached)  # by paths below ROOT
    for function in cached:
        function.cache_clear()
    yield file
    for function in cached:
        function.cache_clear()


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["code_deps", *arguments])
    code_deps.main()


def test_entries_by_hand():
    assert code_deps.entries(HEAD + WRONG + REPORT + TAIL) == {"train": WRONG, "report": REPORT}


def test_code_deps_alone_are_listed():
    assert code_deps.listed(RIGHT) == {
        "stages/train.py", "stages/core", "stages/models/factory.py", "stages/models/layers.py",
        "stages/models/zoo/${student.model}.py"}


def test_a_missing_and_a_surplus_dep_are_mended(pipeline):
    assert code_deps.mended("train", WRONG) == RIGHT
    assert code_deps.mended("train", RIGHT) == RIGHT
    assert code_deps.mended("report", REPORT) == REPORT


def test_params_decide_which_key_chooses_the_model(pipeline):
    """The teacher's network is a dep where a stage has the teacher's params, on one line or on several."""
    both = WRONG.replace("      - student\n", "      - student\n      - teacher.model\n")
    patterns = {f"stages/models/zoo/${{{role}.model}}.py" for role in ("teacher", "student")}
    assert code_deps.listed(code_deps.mended("train", both)) == code_deps.listed(RIGHT) | patterns
    inline = RIGHT.replace("params:\n      - data.task\n      - student\n", "params: [data.task, teacher]\n")
    models = {dep for dep in code_deps.listed(code_deps.mended("train", inline)) if "zoo" in dep}
    assert models == {"stages/models/zoo/${teacher.model}.py"}


def test_a_room_of_which_less_than_half_is_imported_is_listed_by_file(pipeline):
    """Of core's modules two of five."""
    root = pipeline.parent
    (root / "stages/train.py").write_text(FILES["stages/train.py"].replace(", plugins", ""))
    for name in ("params", "device"):
        (root / f"stages/core/{name}.py").touch()
    expected = code_deps.listed(RIGHT) - {"stages/core"} | {"stages/core/errors.py", "stages/core/files.py"}
    assert code_deps.needed("train", "student") == expected


def test_of_a_stage_that_imports_another_all_is_listed(pipeline):
    (pipeline.parent / "stages/train.py").write_text(FILES["stages/train.py"] + "from stages import report\n")
    assert code_deps.needed("train", "student") == {"stages"}
    assert code_deps.listed(code_deps.mended("train", WRONG)) == {"stages"}


def test_what_is_wrong_is_printed_and_the_file_left_alone(pipeline, monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r"run python -m tools\.code_deps --write"):
        run(monkeypatch)
    assert capsys.readouterr().out == "train: + stages/models/layers.py\ntrain: - stages/models/unused.py\n"
    assert pipeline.read_text() == HEAD + WRONG + REPORT + TAIL


def test_write_mends_the_file_and_then_nothing_is_wrong(pipeline, monkeypatch, capsys):
    run(monkeypatch, "--write")
    assert pipeline.read_text() == HEAD + RIGHT + REPORT + TAIL
    capsys.readouterr()
    run(monkeypatch)
    assert capsys.readouterr().out == ""
