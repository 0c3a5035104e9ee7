"""Draws the splits that a source lacks from its training images. In: rows of data/manifest.csv. Out: their `split`.

Images of one group stay together. Each class gives the same share of its images, or, where whole groups don't come out
even, nearly that. Which group is drawn depends on the seed and its own name (for an image on its own, its path), so
that adding one image hardly moves the others. Different folds draw different test images.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from stages.core.errors import UserError

COPIES = "copies of "  # how the groups that clean makes are named; all others are the source's
MANIFEST = "data/manifest.csv"
ORDERS = 20  # orders of the groups, tried for one in which every class gets its share but for one image
Row = dict[str, str]  # of the manifest; a draw changes its `split`
Groups = Mapping[str, Mapping[str, int]]  # group → stratum → images


def draw(rows: list[Row], fractions: Mapping[str, float], fold: int, seed: int, stratum: Callable[[Row], str]) -> None:
    """Gives every row without a split one. Raises UserError if there are too few images or groups.

    fractions: of the training images, for each split that may have to be drawn, in this order.
    """
    for row in rows:
        row["split"] = row["split"] or "train"
    existing = {row["split"] for row in rows}
    missing = {split: fraction for split, fraction in fractions.items() if split not in existing}
    training = [row for row in rows if row["split"] == "train"]
    fixed = {row["group"] for row in rows if row["split"] != "train"}  # they stay in train, as far as they are there
    named = any(row["group"] and not row["group"].startswith(COPIES) for row in training)
    if not training:
        return
    if named and len(set(map(stratum, training))) == 1:
        _draw_neighbours(training, fixed, missing, fold)
    else:
        _draw_stratified(training, fixed, missing, fold, seed, stratum)


def leaks(rows: Sequence[Row], fractions: Mapping[str, float], fold: int, seed: int,
          stratum: Callable[[Row], str]) -> tuple[int, int]:
    """Had single images been drawn: how many would have one of their group in another split, and of how many.

    rows: of the manifest, before the draw; they are not changed.
    """
    single = [row | {"group": ""} for row in rows]
    draw(single, fractions, fold, seed, stratum)
    splits = defaultdict(set)
    for row, alone in zip(rows, single, strict=True):
        splits[row["group"]].add(alone["split"])
    drawn = [row["group"] for row, alone in zip(rows, single, strict=True)
             if alone["split"] in fractions and alone["split"] != row["split"]]
    return sum(bool(group) and len(splits[group]) > 1 for group in drawn), len(drawn)


def share(fraction: float, count: int) -> int:
    """Rounded half up, at least one."""
    return max(1, int(fraction * count + 0.5))


def shuffled(names: Iterable[str], purpose: str) -> list[str]:
    """In an order in which one name more moves no other."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{purpose} {name}".encode()).digest())


def _draw_stratified(training: list[Row], fixed: set[str], missing: Mapping[str, float], fold: int, seed: int,
                     stratum: Callable[[Row], str]) -> None:
    """Draws groups by lot, of each stratum its share of images; every stratum keeps a training group."""
    for number, (split, fraction) in enumerate(missing.items(), 1):
        later, members = len(missing) - number, _members(training)
        groups = {name: Counter(map(stratum, some)) for name, some in members.items()}
        free = {name: counts for name, counts in groups.items() if name not in fixed}
        images, drawable = (Counter(name for counts in some.values() for name in counts.elements())
                            for some in (groups, free))
        in_groups, in_free = (Counter(name for counts in some.values() for name in counts) for some in (groups, free))
        if number == 1:
            _check(images, in_groups, in_free, ["train", *missing],
                   any(name.startswith(COPIES) for name in groups))
        need = {name: min(share(fraction, count), count - 1 - later, drawable[name] - later)
                for name, count in images.items()}
        most = {name: min(count - 1 - later, in_free[name] - later) for name, count in in_groups.items()}
        scarce = min(need, key=lambda name: drawable[name] // need[name])
        chosen = _fold(fold, need[scarce], drawable[scarce], split, is_first=number == 1)
        for name in _drawn(free, need, most, chosen, f"{seed} {split}"):
            for row in members[name]:
                row["split"] = split
        training = [row for row in training if row["split"] == "train"]


def _check(images: Mapping[str, int], groups: Mapping[str, int], free: Mapping[str, int], splits: Sequence[str],
           has_copies: bool) -> None:
    """Raises UserError for a stratum with too few groups for these splits."""
    for name, count in images.items():
        if groups[name] < len(splits) or free[name] < len(splits) - 1:
            what = f"class {name!r}" if name else "the set"
            copies = "; or raise clean.near_likeness, from which on images count as copies" if has_copies else ""
            raise UserError(f"{MANIFEST}: {what} has {count} training image(s) in {groups[name]} group(s), of which "
                            f"{free[name]} may leave train, but {', '.join(splits[:-1])} and {splits[-1]} need one "
                            f"each; add images, or remove the class{copies}")


def _drawn(groups: Groups, need: Mapping[str, int], most: Mapping[str, int], fold: int, purpose: str) -> list[str]:
    """The groups of the fold-th draw. All folds follow one order: the first that serves fold 0 to one image a stratum.

    need: images of each stratum. most: groups of each stratum that may go.
    """
    orders = []  # how far off the worst stratum is, number and order
    for number in range(ORDERS):
        order = shuffled(groups, f"{purpose} {number}" if number else purpose)
        off = max(map(abs, _picked(order, groups, need, most)[1].values()))
        orders.append((off, number, order))
        if off <= 1:
            break
    order = min(orders)[2]
    for _ in range(fold):
        taken = set(_picked(order, groups, need, most)[0])
        order = [name for name in order if name not in taken]
    drawn, left = _picked(order, groups, need, most)
    if without := [name for name, count in left.items() if count == need[name]]:
        raise UserError(f"{MANIFEST}: no group of {f'class {without[0]!r}' if without[0] else 'images'} is left that "
                        f"could be drawn; add images, or lower split.fold, which is {fold}")
    return drawn


def _picked(order: Sequence[str], groups: Groups, need: Mapping[str, int],
            most: Mapping[str, int]) -> tuple[list[str], dict[str, int]]:
    """Groups in this order, and what each stratum lacks then; negative: has too many."""
    left, may_go, picked = dict(need), dict(most), {}

    def pick(is_wanted: Callable[[Mapping[str, int]], bool]) -> None:
        for name in order:
            counts = groups[name]
            if name not in picked and is_wanted(counts) and all(may_go[of] > 0 for of in counts):
                picked[name] = True
                for of, count in counts.items():
                    left[of] -= count
                    may_go[of] -= 1

    pick(lambda counts: all(left[of] >= count for of, count in counts.items()))
    if any(left.values()):  # whole groups don't come out even
        pick(lambda counts: sum(abs(left[of] - count) - abs(left[of]) for of, count in counts.items()) < 0)
    for lacking in [of for of in need if left[of] == need[of]]:  # all its groups are large
        smallest = min((sum(groups[name].values()) for name in order if lacking in groups[name]), default=0)
        pick(lambda counts, of=lacking, size=smallest: of in counts and left[of] == need[of]
             and sum(counts.values()) == size)
    return list(picked), left


def _draw_neighbours(training: list[Row], fixed: set[str], missing: Mapping[str, float], fold: int) -> None:
    """Draws groups of the source that have no classes, in the natural order of their names, so that what lies side by
    side is drawn together; an image without a group is one of its own.
    """
    for number, (split, fraction) in enumerate(missing.items(), 1):
        members = _members(training)
        groups = sorted(members, key=_natural)
        free, later = [name for name in groups if name not in fixed], len(missing) - number
        if number == 1 and (len(groups) <= len(missing) or len(free) < len(missing)):
            raise UserError(f"{MANIFEST}: {len(groups)} group(s) of images ({', '.join(groups)}), but "
                            f"{' and '.join(['train', *missing])} need one each; add images of other groups")
        count = min(share(fraction, len(groups)), len(groups) - 1 - later, len(free) - later)
        start = _fold(fold, count, len(free), split, is_first=number == 1) * count
        for name in free[start:start + count]:
            for row in members[name]:
                row["split"] = split
        training = [row for row in training if row["split"] == "train"]


def _members(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each group; an image without one is its own, by its path."""
    members = defaultdict(list)
    for row in rows:
        members[row["group"] or row["path"]].append(row)
    return members


def _fold(fold: int, count: int, total: int, split: str, is_first: bool) -> int:
    """Which draw of `count` out of `total` it is.

    Beyond the last fold, the split that is drawn first raises UserError, since it must differ between folds. The
    other wraps around, since it is drawn from what the first has left.
    """
    folds = total // count
    if is_first and fold >= folds:
        raise UserError(f"params.yaml: split.fold is {fold}, but there are {folds} folds, from 0, of "
                        f"{count} out of {total} for {split}; lower it, or split.{split}_fraction")
    return fold % max(1, folds)


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key: Tile 10 comes after Tile 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
