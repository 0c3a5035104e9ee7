"use strict";
// Brings pen strokes, dark or light, thick or thin, to the form of the training images, which demo/strokes.py measures:
// their outline is drawn anew, nearer to the centre line or farther from it, and with edges as soft.

const LOOK = 192; // pixels of the longer side at which strokes are looked for
const LEAST = 32; // levels that ink differs from its ground, at least

// picture: as `resized` takes it. tile: its height and width. → {height, width, pixels: RGB}; null where nothing stands
// out from the ground.
function asTrained(picture, form, tile) {
  const scale = Math.min(1, LOOK / Math.max(picture.height, picture.width));
  const small = resized(picture, { resize: "tiles", scale });
  const { height, width } = small, shares = inkShares(small);
  if (!shares) return null;
  const isInk = Uint8Array.from(shares, (share) => share > 0.5);
  const inside = distances(isInk, 0, height, width), outside = distances(isInk, 1, height, width);
  const depth = inside.map((distance, at) => (isInk[at] ? distance - 0.5 : 0.5 - outside[at])); // negative: outside ink
  const stroke = strokeWidth(shares, height, width), [top, bottom, left, right, y, x] = extent(isInk, height, width);
  const zoom = Math.min((form.height - form.stroke) / Math.max(bottom - top + 1 - stroke, 1),
    (form.width - form.stroke) / Math.max(right - left + 1 - stroke, 1)); // from centre line to centre line
  const middle = form.centre === "box" ? [(top + bottom) / 2, (left + right) / 2] : [y, x];
  const wider = (form.stroke - stroke * zoom) / 2, pixels = new Uint8Array(tile.height * tile.width * 3);
  const centre = [(tile.height - 1) / 2, (tile.width - 1) / 2];
  for (let row = 0; row < tile.height; row++)
    for (let column = 0; column < tile.width; column++) {
      const [down, across] = [row, column].map((at, axis) => (at - centre[axis]) / zoom + middle[axis]);
      const share = 0.5 + (between(depth, height, width, down, across) * zoom + wider) / form.edge;
      const level = Math.round(form.ground + (form.ink - form.ground) * Math.min(1, Math.max(0, share)));
      pixels.fill(level, 3 * (row * tile.width + column), 3 * (row * tile.width + column) + 3);
    }
  return { height: tile.height, width: tile.width, pixels };
}

// How much of each pixel is ink, 0 to 1. The ground is the border's median level; ink is what differs most from it.
function inkShares({ height, width, pixels }) {
  const grey = Float32Array.from({ length: height * width }, (_, at) =>
    (pixels[3 * at] + pixels[3 * at + 1] + pixels[3 * at + 2]) / 3);
  const isEnd = (at, side) => at === 0 || at === side - 1;
  const border = grey.filter((_, at) => isEnd(at % width, width) || isEnd(Math.floor(at / width), height));
  const ground = border.sort()[border.length >> 1]; // of typed arrays, sort is by number
  const [least, most] = grey.reduce(([low, high], level) => [Math.min(low, level), Math.max(high, level)], [255, 0]);
  const far = most - ground > ground - least ? most - ground : least - ground;
  return Math.abs(far) < LEAST ? null : grey.map((level) => Math.max(0, (level - ground) / far));
}

// Mean width: twice the area by the length of the outline.
function strokeWidth(shares, height, width) {
  const share = (y, x) => (y < 0 || x < 0 || y >= height || x >= width ? 0 : shares[y * width + x]);
  let area = 0, outline = 0;
  for (let y = -1; y <= height; y++)
    for (let x = -1; x <= width; x++) {
      area += share(y, x);
      outline += Math.hypot(share(y + 1, x) - share(y - 1, x), share(y, x + 1) - share(y, x - 1)) / 2;
    }
  return (2 * area) / outline;
}

// [top, bottom, left, right, mean row, mean column] of the ink.
function extent(isInk, height, width) {
  let [top, bottom, left, right, down, across, count] = [height, 0, width, 0, 0, 0, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      if (!isInk[y * width + x]) continue;
      [top, bottom, left, right] = [Math.min(top, y), Math.max(bottom, y), Math.min(left, x), Math.max(right, x)];
      [down, across, count] = [down + y, across + x, count + 1];
    }
  return [top, bottom, left, right, down / count, across / count];
}

// From each pixel to the nearest whose value is `goal`; beyond the edge all are 0. Squared distances are exact, as the
// lower envelope of parabolas along columns, then rows: P. Felzenszwalb and D. Huttenlocher, "Distance Transforms of
// Sampled Functions", Theory of Computing 8, 2012.
function distances(values, goal, height, width) {
  const high = height + 2, wide = width + 2, far = 1e9; // with a frame of zeros
  const squared = new Float64Array(high * wide).map((_, at) => {
    const y = Math.floor(at / wide) - 1, x = (at % wide) - 1;
    const value = y < 0 || x < 0 || y >= height || x >= width ? 0 : values[y * width + x];
    return value === goal ? 0 : far;
  });
  for (let x = 0; x < wide; x++) envelope(squared, x, wide, high);
  for (let y = 0; y < high; y++) envelope(squared, y * wide, 1, wide);
  const within = (at) => (Math.floor(at / width) + 1) * wide + (at % width) + 1;
  return Float32Array.from(values, (_, at) => Math.sqrt(squared[within(at)]));
}

// Replaces `count` values, from `first` on, every `step`: each by the least of (distance² + value) over all of them.
function envelope(values, first, step, count) {
  const old = Float64Array.from({ length: count }, (_, at) => values[first + at * step]);
  const feet = [0], starts = [-Infinity]; // of the parabolas that are lowest somewhere, and from where on they are
  for (let at = 1; at < count; at++) {
    let start;
    for (;;) {
      const foot = feet.at(-1);
      start = (old[at] + at * at - old[foot] - foot * foot) / (2 * (at - foot));
      if (start > starts.at(-1)) break;
      feet.pop();
      starts.pop();
    }
    feet.push(at);
    starts.push(start);
  }
  for (let at = 0, lowest = 0; at < count; at++) {
    while (starts[lowest + 1] < at) lowest += 1;
    values[first + at * step] = (at - feet[lowest]) ** 2 + old[feet[lowest]];
  }
}

// The depth at a place between pixels; beyond the edge it falls by the way there.
function between(depth, height, width, y, x) {
  const down = Math.min(height - 1, Math.max(0, y)), across = Math.min(width - 1, Math.max(0, x));
  const row = Math.floor(down), column = Math.floor(across), low = down - row, right = across - column;
  const at = (dy, dx) => depth[Math.min(row + dy, height - 1) * width + Math.min(column + dx, width - 1)];
  const line = (dy) => (1 - right) * at(dy, 0) + right * at(dy, 1);
  return (1 - low) * line(0) + low * line(1) - Math.hypot(y - down, x - across);
}
