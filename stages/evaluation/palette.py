"""A colour for each class of a mask."""

import numpy as np

# Okabe and Ito, "Color Universal Design", 2008: eight colours that the colour-blind tell apart.
PLAIN = np.array([(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
                  (204, 121, 167)]) / 255


def palette(number: int) -> np.ndarray:
    """uint8 (C,3): Okabe and Ito's, then lighter and darker shades of them. From the 25th class on they begin again."""
    dark = np.where(PLAIN.any(1, keepdims=True), 0.55 * PLAIN, 0.3)
    shades = np.concatenate([PLAIN, PLAIN + 0.55 * (1 - PLAIN), dark])
    return np.round(255 * shades[np.arange(number) % len(shades)]).astype(np.uint8)
