"""Readable names of WordNet's identifiers, by which ImageNet calls its classes: 'goldfish', not 'n01443537'."""

import re
from collections import Counter
from collections.abc import Collection


def class_names(wnids: Collection[str], words: bytes) -> dict[str, str]:
    """wnid → the first word for it, with the wnid added where two share it; the wnid itself where there is none.

    words: lines of a wnid and its words, as in words.txt, synset_words.txt, LOC_synset_mapping.txt.
    """
    lines = [re.split(r"\s", line.strip(), maxsplit=1) for line in words.decode("utf-8", "replace").splitlines()]
    first = {line[0]: line[1].split(",")[0].strip() for line in lines if len(line) > 1 and line[0] in wnids}
    uses = Counter(first.values())
    return {wnid: wnid if wnid not in first else first[wnid] if uses[first[wnid]] == 1 else f"{first[wnid]} ({wnid})"
            for wnid in wnids}
