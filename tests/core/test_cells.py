"""What a spreadsheet would compute is a text in every table, and is read back as it was."""

import csv

import pytest

from stages.core import files
from stages.core.cells import as_cell, from_cell

FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1", "-", "'=1", "''@x"]
TEXTS = ["", "cat", "-0.5", "+1", "1e-3", "'", "'cat'", "a=1", "猫", " =1", "two\nlines"]


@pytest.mark.parametrize("text", FORMULAS + TEXTS)
def test_only_formulas_are_marked_and_all_come_back(text):
    cell = as_cell(text)
    assert cell == (f"'{text}" if text in FORMULAS else text)
    assert from_cell(cell) == text
    assert as_cell(-1.5) == -1.5 and as_cell(None) is None


def test_a_table_of_names(tmp_path):
    names = FORMULAS + TEXTS[1:]
    files.write_csv(tmp_path / "a.csv", ("name", "value"), ({"name": name, "value": -1} for name in names))
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        stored = [row["name"] for row in csv.DictReader(file)]
    assert not [cell for cell in stored if cell[0] in "=@+\t\r" and cell != "+1"]
    assert [row["name"] for row in files.read_csv(tmp_path / "a.csv", ("value",))] == names
