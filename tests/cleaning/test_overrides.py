"""Overrides are written by hand or copied from decisions.csv, by a spreadsheet or without one."""

from stages.cleaning import overrides


def test_a_path_copied_from_decisions_is_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides.FILE.parent.mkdir(parents=True)
    overrides.FILE.write_text("path,action,label\n'=cat/1.png,drop,\n=cat/2.png,relabel,'@dog\n'tis/3.png,keep\n")
    assert overrides.read(relabels=True) == {"=cat/1.png": ("drop", ""), "=cat/2.png": ("relabel", "@dog"),
                                             "'tis/3.png": ("keep", "")}
