"""What a scan has done survives its kill, and nothing is done twice."""

import numpy as np
import pytest

from stages.cleaning import inspected
from stages.cleaning.inspected import BatchedFeatures, Inspected, Inspection


def looked_at(number: int) -> Inspection:
    """Every third image has no square."""
    square = np.full((4, 4, 3), number, np.uint8) if number % 3 else None
    return Inspection({"path": f"{number}.png", "bytes": number}, np.full((32, 32, 3), number, np.uint8), square)


def inspect(folder, looks, killed_at: int = 99) -> Inspected:
    """Ten images in parts of four. looks: gets the number of each image that is looked at."""
    found = Inspected(folder, 10)
    deep = BatchedFeatures(lambda squares: squares.mean((1, 2)).astype(np.float32))

    def images():
        for number in range(found.done, 10):
            if number == killed_at:
                raise KeyboardInterrupt
            looks.append(number)
            yield looked_at(number)

    found.add(images(), deep)
    return found


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(inspected, "PART", 4)


def check(found: Inspected) -> None:
    assert [*found.rows()] == [looked_at(number).row for number in range(10)]
    assert np.concatenate([*found.thumbnails()])[:, 0, 0, 0].tolist() == list(range(10))
    assert found.features()[:, 0].tolist() == [1, 2, 4, 5, 7, 8]


def test_a_killed_scan_goes_on_after_its_last_whole_part(tmp_path):
    looks = []
    with pytest.raises(KeyboardInterrupt):
        inspect(tmp_path, looks, killed_at=7)
    assert looks == list(range(7))
    check(inspect(tmp_path, looks))
    assert looks == [*range(7), *range(4, 10)]
    check(inspect(tmp_path, looks))  # killed while labels were checked
    assert looks == [*range(7), *range(4, 10)]


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:-9], lambda content: content.swapcase()])
def test_a_damaged_part_and_what_follows_are_made_anew(tmp_path, capsys, damage):
    inspect(tmp_path, [])
    path = tmp_path / "000000004.npz"
    path.write_bytes(damage(path.read_bytes()))
    looks = []
    check(inspect(tmp_path, looks))
    assert looks == list(range(4, 10)) and "damaged" in capsys.readouterr().err


def test_without_a_backbone_there_are_no_features(tmp_path):
    found = Inspected(tmp_path, 3)
    found.add((looked_at(number)._replace(small=None) for number in range(3)), None)
    assert len([*found.rows()]) == 3 and not list(tmp_path.glob("features*"))
