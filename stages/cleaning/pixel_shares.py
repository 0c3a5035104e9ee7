"""How much of the pictures each class covers. In: rows of data/scan.csv with masks. Out: shares of the pixels, in %."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import ModuleType

import numpy as np
from tqdm import tqdm

from stages.cleaning.findings import Row
from stages.data.prepared import IGNORED, evenly_spaced

MOST = 500  # masks of a split that are read: more of them move no bar by much
REST = "(ignored)"  # pixels that count nowhere; no class's name, since it stands beside those
Shares = Mapping[str, Mapping[str, float]]  # split → class → % of the pixels


def pixel_shares(rows: Iterable[Row], kept: Collection[str], labels: ModuleType, read: Callable[[str], bytes],
                 split_of: Callable[[Row], str]) -> tuple[Shares, Shares]:
    """Of all pictures with a readable mask, and of those that are kept. Where a split has more than MOST masks, of that
    many, evenly spaced.

    kept: paths. labels: of the task. read: the content of a file of raw.zip.
    """
    names, found, left = [*labels.classes(()), REST], {}, {}
    for split, members in _by_split(rows, split_of).items():
        found[split], left[split] = np.zeros((2, len(names)), np.int64)
        for number in tqdm(evenly_spaced(len(members), MOST), desc=f"shares in {split}", unit=" masks", disable=None):
            mask = labels.target(members[number], names, read)
            counts = np.bincount(np.where(mask == IGNORED, len(names) - 1, mask).ravel(), minlength=len(names))
            found[split] += counts
            left[split] += counts * (members[number]["path"] in kept)
    before, after = ({split: dict(zip(names, (100 * counts / max(1, counts.sum())).tolist(), strict=True))
                      for split, counts in some.items()} for some in (found, left))
    return before, after


def _by_split(rows: Iterable[Row], split_of: Callable[[Row], str]) -> dict[str, Sequence[Row]]:
    members = defaultdict(list)
    for row in rows:
        if row["label"]:
            members[split_of(row)].append(row)
    return members
