"use strict";
// How a picture becomes the squares that a network sees, and how its answers to them become whole again: what
// stages/data/tiling.py does in Python. Resampling is Pillow's BILINEAR to the last bit: a triangle as wide as the
// picture shrinks, once across and once down, in whole numbers of 22 binary places.

const PLACES = 22, HALF = 2 ** (PLACES - 1);
const STRIP = 2 ** 20; // pixels of the picture that are looked at in one go

// What of the picture is used: left, top, right, bottom.
function box(height, width, sizing) {
  if (sizing.resize !== "crop") return [0, 0, width, height];
  const side = Math.min(height, width), left = (width - side) / 2, top = (height - side) / 2;
  return [left, top, left + side, top + side];
}

// [height, width] that it is brought to.
function scaled(height, width, sizing) {
  if (sizing.resize !== "tiles") return [sizing.size, sizing.size];
  return [height, width].map((side) => Math.max(1, Math.floor(side * sizing.scale + 0.5)));
}

// Where squares begin: at even distances from edge to edge, as few as the overlap allows.
function starts(side, sizing) {
  const beyond = Math.max(0, side - sizing.size), steps = Math.ceil(beyond / (sizing.size - sizing.overlap));
  return steps ? Array.from({ length: steps + 1 }, (_, step) => toEven((beyond * step) / steps)) : [0];
}

// Rounded as Python does: halves to the even neighbour.
function toEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2) ? below + 1 : below;
}

// For each of `count` new pixels between `from` and `to` of a side: the first old pixel, and the weights from there on.
function weights(side, from, to, count) {
  const scale = (to - from) / count, reach = Math.max(1, scale), shrink = 1 / reach;
  return Array.from({ length: count }, (_, pixel) => {
    const centre = from + (pixel + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(side, Math.trunc(centre + reach + 0.5));
    const shares = Array.from({ length: last - first }, (_, at) =>
      Math.max(0, 1 - Math.abs((at + first - centre + 0.5) * shrink)));
    const total = shares.reduce((sum, share) => sum + share, 0);
    return { first, shares: Int32Array.from(shares, (share) => Math.trunc(0.5 + (share / total) * 2 ** PLACES)) };
  });
}

// picture: {height, width, rows(top, count): its pixels, RGBA} → {height, width, pixels: RGB}, brought to scale.
function resized(picture, sizing) {
  const [height, width] = scaled(picture.height, picture.width, sizing);
  const [left, top, right, bottom] = box(picture.height, picture.width, sizing);
  const across = weights(picture.width, left, right, width), down = weights(picture.height, top, bottom, height);
  const pixels = new Uint8Array(height * width * 3);
  (isDownFirst(picture, height, width) ? downAcross : acrossDown)(picture, across, down, pixels);
  return { height, width, pixels };
}

// The order shows in the last bit. Pillow's, from 13 on (before, it was always across first): down where the height
// loses more than twice as many pixels as the width.
function isDownFirst(picture, height, width) {
  return picture.height > height && picture.height - height > 2 * (picture.width - width);
}

function acrossDown(picture, across, down, pixels) {
  const begin = down[0].first, end = down.at(-1).first + down.at(-1).shares.length, width = across.length;
  const narrow = new Uint8Array((end - begin) * width * 3);
  const strip = Math.max(1, Math.floor(STRIP / picture.width));
  for (let row = begin; row < end; row += strip) {
    const count = Math.min(strip, end - row);
    goAcross(picture.rows(row, count), 4, count, picture.width, across, narrow.subarray((row - begin) * width * 3));
  }
  for (const [y, { first, shares }] of down.entries())
    goDown(narrow, 3, first - begin, width, shares, pixels.subarray(y * width * 3));
}

function downAcross(picture, across, down, pixels) {
  const line = new Uint8Array(picture.width * 3);
  let begin = 0, end = 0, rows;
  for (const [y, { first, shares }] of down.entries()) {
    if (first + shares.length > end) {
      begin = first;
      end = Math.min(picture.height, first + Math.max(shares.length, Math.floor(STRIP / picture.width)));
      rows = picture.rows(begin, end - begin);
    }
    goDown(rows, 4, first - begin, picture.width, shares, line);
    goAcross(line, 3, 1, picture.width, across, pixels.subarray(y * across.length * 3));
  }
}

// `count` rows of pixels that lie `stride` numbers apart → rows of as many RGB pixels as `across` has entries.
function goAcross(rows, stride, count, width, across, out) {
  let to = 0;
  for (let y = 0; y < count; y++) {
    for (const { first, shares } of across) {
      let red = HALF, green = HALF, blue = HALF, from = (y * width + first) * stride;
      for (let at = 0; at < shares.length; at++, from += stride) {
        red += rows[from] * shares[at];
        green += rows[from + 1] * shares[at];
        blue += rows[from + 2] * shares[at];
      }
      out[to++] = red >> PLACES;
      out[to++] = green >> PLACES;
      out[to++] = blue >> PLACES;
    }
  }
}

// Rows from `first` on, by their shares → one row, RGB.
function goDown(rows, stride, first, width, shares, out) {
  let to = 0;
  for (let x = 0; x < width; x++) {
    for (let channel = 0; channel < 3; channel++) {
      let sum = HALF;
      for (let at = 0; at < shares.length; at++) sum += rows[((first + at) * width + x) * stride + channel] * shares[at];
      out[to++] = sum >> PLACES;
    }
  }
}

// The square at (top, left), RGB; beyond its edges a picture is continued by its mirror image.
function cut(whole, top, left, size) {
  const square = new Uint8Array(size * size * 3);
  let to = 0;
  for (let y = top; y < top + size; y++) {
    const row = mirrored(y, whole.height) * whole.width;
    for (let x = left; x < left + size; x++) {
      const from = (row + mirrored(x, whole.width)) * 3;
      square[to++] = whole.pixels[from];
      square[to++] = whole.pixels[from + 1];
      square[to++] = whole.pixels[from + 2];
    }
  }
  return square;
}

// Reflection, the border pixel not repeated, as often as it takes.
function mirrored(position, side) {
  if (side === 1) return 0;
  const period = 2 * (side - 1);
  return Math.min(position % period, period - (position % period));
}

// The class of each pixel (height × width), from logits(top, left): a promise of (C,size,size) of the square there.
// Where squares overlap their mean counts, a square's border less than its middle. Only one row of squares is in memory.
async function blended(height, width, classes, sizing, logits) {
  const size = sizing.size, wide = Math.max(width, size), tops = starts(height, sizing), lefts = starts(width, sizing);
  const ramp = Float32Array.from({ length: size }, (_, at) => Math.min(at + 0.5, size - at - 0.5));
  const found = new Uint16Array(height * width);
  const total = new Float32Array(classes * size * wide), weight = new Float32Array(size * wide);
  for (const [number, top] of tops.entries()) {
    for (const left of lefts) add(await logits(top, left), left);
    const done = (tops[number + 1] ?? height) - top; // rows that no further square reaches
    for (let y = 0; y < done; y++)
      for (let x = 0; x < width; x++) found[(top + y) * width + x] = largest(y * wide + x);
    for (let at = 0; at < classes; at++) shift(total.subarray(at * size * wide, (at + 1) * size * wide), done * wide);
    shift(weight, done * wide);
  }
  return found;

  function add(answer, left) {
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++) {
        const share = Math.fround(ramp[y] * ramp[x]), to = y * wide + left + x;
        weight[to] += share;
        for (let at = 0; at < classes; at++)
          total[at * size * wide + to] += Math.fround(share * answer[(at * size + y) * size + x]);
      }
  }

  function largest(at) {
    let best = 0, most = -Infinity;
    for (let label = 0; label < classes; label++) {
      const value = Math.fround(total[label * size * wide + at] / weight[at]);
      if (value > most) [best, most] = [label, value];
    }
    return best;
  }
}

// Rows that are done leave at the top; what follows moves up.
function shift(values, count) {
  values.copyWithin(0, count);
  values.fill(0, Math.max(0, values.length - count));
}

// Logits (C) → probabilities.
function softmax(logits) {
  const most = logits.reduce((one, other) => Math.max(one, other), -Infinity);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}
