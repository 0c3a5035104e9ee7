"""python -m tools.structure, on a small tree worked out by hand."""

import sys

import pytest
from small_project import ROOT, commit, run

from stages.core.errors import UserError
from tools import structure

FILES = {
    "stages/__init__.py": "",
    "stages/train.py": '"""A stage.\n\nIn two paragraphs.\n"""\n\n'
                       "from stages.core import files\nfrom stages.models import net\n",
    "stages/core/files.py": "# nothing but\n\nx = '''two\nlines'''  # code\n",
    "stages/core/errors.py": "",
    "stages/models/net.py": "def build():\n    '''Lazily.'''\n    import stages.models.block\n",
    "stages/models/block.py": "from stages.core.files import x\nfrom stages.models import net\n",
    "tools/run.py": "COMMAND = 'stages.train'\n",
    "tests/test_all.py": "import tools.run\n",
    ".ci/check.py": "import tools.run\n",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "dvc.yaml").touch()
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "All")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(monkeypatch, capsys, *arguments: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["structure", *arguments])
    structure.main()
    return capsys.readouterr().out.splitlines()


def test_rooms_imports_chains_circles_and_lines(tree, monkeypatch, capsys):
    lines = ask(monkeypatch, capsys)
    assert [line.split() for line in lines[1:5]] == [
        ["stages/core", "1", "4", "2"], ["stages/models", "2", "5", "4", "core"],
        ["stages/train.py", "1", "7", "2", "core,", "models"], ["tools", "1", "1", "1", "train.py"]]
    assert lines[6:] == [
        "lines of Python: 17, without blank lines, comments and docstrings 9", "",
        "rooms: 4", "imports between rooms: 4",
        "longest chain of rooms: 4: tools → stages/train.py → stages/models → stages/core", "circles of rooms: none",
        "", "modules: 5", "imports between modules: 6",
        "longest chain of modules: 4: tools/run.py → stages/train.py → stages/models/block.py → stages/core/files.py",
        "circles of modules: stages/models/block.py ↔ stages/models/net.py"]


def test_a_commit_is_counted_as_it_was(tree, monkeypatch, capsys):
    before = ask(monkeypatch, capsys)
    (tree / "stages/core/more.py").write_text("y = 1\n")
    assert "modules: 6" in ask(monkeypatch, capsys)
    assert ask(monkeypatch, capsys, "--rev", "HEAD") == before
    with pytest.raises(UserError, match="'nowhere' is no commit"):
        ask(monkeypatch, capsys, "--rev", "nowhere")


def test_modules_of_the_one_hall_of_old_count_as_rooms():
    paths = ("stages/kit/a.py", "stages/kit/b/c.py", "stages/b/c.py", "predict.py")
    assert list(map(structure.room_of, paths)) == ["stages/kit/a.py", "stages/kit/b", "stages/b", "predict.py"]


def test_the_project_has_no_circle(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    lines = ask(monkeypatch, capsys)
    assert "circles of rooms: none" in lines and "circles of modules: none" in lines
