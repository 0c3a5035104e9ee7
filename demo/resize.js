"use strict";
// Resizes a picture, cuts it into the tiles that a network takes, and blends the answers: stages/data/tiling.py in
// JavaScript. Resampling equals Pillow's BILINEAR to the last bit: a triangle filter, wider when shrinking, applied
// horizontally and vertically, in fixed point with 22 fractional bits.

const BITS = 22, HALF = 2 ** (BITS - 1);
const STRIP = 2 ** 20; // pixels of the picture that are read at a time

// The part of the picture that is used: [left, top, right, bottom].
function box(height, width, sizing) {
  if (sizing.resize !== "crop") return [0, 0, width, height];
  const high = Math.min(height, Math.max(1, Math.floor((width * sizing.height) / sizing.width + 0.5)));
  const wide = Math.min(width, Math.max(1, Math.floor((height * sizing.width) / sizing.height + 0.5)));
  const left = (width - wide) / 2, top = (height - high) / 2;
  return [left, top, left + wide, top + high];
}

// [height, width] after resizing.
function scaled(height, width, sizing) {
  if (sizing.resize !== "tiles") return [sizing.height, sizing.width];
  return [height, width].map((side) => Math.max(1, Math.floor(side * sizing.scale + 0.5)));
}

// Where tiles start along a side: evenly spaced from edge to edge, as few as the overlap allows.
function starts(side, tile, overlap) {
  const beyond = Math.max(0, side - tile), steps = Math.ceil(beyond / (tile - overlap));
  return steps ? Array.from({ length: steps + 1 }, (_, step) => toEven((beyond * step) / steps)) : [0];
}

// Rounds as Python does: halves to the even neighbour.
function toEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2) ? below + 1 : below;
}

// For each of `count` output pixels between `from` and `to` of a side: the first input pixel, and weights from there on.
function filters(side, from, to, count) {
  const scale = (to - from) / count, reach = Math.max(1, scale), shrink = 1 / reach;
  return Array.from({ length: count }, (_, pixel) => {
    const centre = from + (pixel + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(side, Math.trunc(centre + reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, at) =>
      Math.max(0, 1 - Math.abs((at + first - centre + 0.5) * shrink)));
    const total = weights.reduce((sum, share) => sum + share, 0);
    return { first, weights: Int32Array.from(weights, (share) => Math.trunc(0.5 + (share / total) * 2 ** BITS)) };
  });
}

// picture: {height, width, rows(top, count): its pixels, RGBA} → {height, width, pixels: RGB, part: the box}, resized.
function resized(picture, sizing) {
  const [height, width] = scaled(picture.height, picture.width, sizing);
  const part = box(picture.height, picture.width, sizing), [left, top, right, bottom] = part;
  const across = filters(picture.width, left, right, width), down = filters(picture.height, top, bottom, height);
  const pixels = new Uint8Array(height * width * 3);
  (isDownFirst(picture, height, width) ? downAcross : acrossDown)(picture, across, down, pixels);
  return { height, width, pixels, part };
}

// The order affects the last bit. Pillow's since 13 (before, it was always horizontal first): vertical first if the
// height loses more than twice as many pixels as the width.
function isDownFirst(picture, height, width) {
  return picture.height > height && picture.height - height > 2 * (picture.width - width);
}

function acrossDown(picture, across, down, pixels) {
  const begin = down[0].first, end = down.at(-1).first + down.at(-1).weights.length, width = across.length;
  const narrow = new Uint8Array((end - begin) * width * 3);
  const strip = Math.max(1, Math.floor(STRIP / picture.width));
  for (let row = begin; row < end; row += strip) {
    const count = Math.min(strip, end - row);
    goAcross(picture.rows(row, count), 4, count, picture.width, across, narrow.subarray((row - begin) * width * 3));
  }
  for (const [y, { first, weights }] of down.entries())
    goDown(narrow, 3, first - begin, width, weights, pixels.subarray(y * width * 3));
}

function downAcross(picture, across, down, pixels) {
  const line = new Uint8Array(picture.width * 3);
  let begin = 0, end = 0, rows;
  for (const [y, { first, weights }] of down.entries()) {
    if (first + weights.length > end) {
      begin = first;
      end = Math.min(picture.height, first + Math.max(weights.length, Math.floor(STRIP / picture.width)));
      rows = picture.rows(begin, end - begin);
    }
    goDown(rows, 4, first - begin, picture.width, weights, line);
    goAcross(line, 3, 1, picture.width, across, pixels.subarray(y * across.length * 3));
  }
}

// `count` rows of pixels with `stride` bytes each → rows of as many RGB pixels as `across` has entries.
function goAcross(rows, stride, count, width, across, out) {
  let to = 0;
  for (let y = 0; y < count; y++) {
    for (const { first, weights } of across) {
      let red = HALF, green = HALF, blue = HALF, from = (y * width + first) * stride;
      for (let at = 0; at < weights.length; at++, from += stride) {
        red += rows[from] * weights[at];
        green += rows[from + 1] * weights[at];
        blue += rows[from + 2] * weights[at];
      }
      out[to++] = red >> BITS;
      out[to++] = green >> BITS;
      out[to++] = blue >> BITS;
    }
  }
}

// The weighted sum of rows from `first` on → one row, RGB.
function goDown(rows, stride, first, width, weights, out) {
  let to = 0;
  for (let x = 0; x < width; x++) {
    for (let channel = 0; channel < 3; channel++) {
      let sum = HALF;
      for (let at = 0; at < weights.length; at++) sum += rows[((first + at) * width + x) * stride + channel] * weights[at];
      out[to++] = sum >> BITS;
    }
  }
}

// The tile at (top, left), RGB, with reflection padding beyond the edges.
function cut(image, top, left, sizing) {
  const tile = new Uint8Array(sizing.height * sizing.width * 3);
  let to = 0;
  for (let y = top; y < top + sizing.height; y++) {
    const row = reflect(y, image.height) * image.width;
    for (let x = left; x < left + sizing.width; x++) {
      const from = (row + reflect(x, image.width)) * 3;
      tile[to++] = image.pixels[from];
      tile[to++] = image.pixels[from + 1];
      tile[to++] = image.pixels[from + 2];
    }
  }
  return tile;
}

// The pixel that a position beyond the edge reflects to; the border pixel is not repeated.
function reflect(position, side) {
  if (side === 1) return 0;
  const period = 2 * (side - 1);
  return Math.min(position % period, period - (position % period));
}

// The class of each pixel (height × width), from logits(top, left): a promise of (C,H,W) of the tile there.
// Overlapping tiles are averaged, with less weight at their borders. Only one row of tiles is in memory.
async function blended(height, width, classes, sizing, logits) {
  const tile = sizing, tops = starts(height, tile.height, tile.overlap);
  const lefts = starts(width, tile.width, tile.overlap);
  const ramp = (size) => Float32Array.from({ length: size }, (_, at) => Math.min(at + 0.5, size - at - 0.5));
  const down = ramp(tile.height), across = ramp(tile.width);
  const labels = new Uint16Array(height * width), wide = Math.max(width, tile.width), room = tile.height * wide;
  const total = new Float32Array(classes * room), weight = new Float32Array(room);
  for (const [number, top] of tops.entries()) {
    for (const left of lefts) add(await logits(top, left), left);
    const done = (tops[number + 1] ?? height) - top; // rows that no further tile reaches
    for (let y = 0; y < done; y++)
      for (let x = 0; x < width; x++) labels[(top + y) * width + x] = largest(y * wide + x);
    for (let at = 0; at < classes; at++) shift(total.subarray(at * room, (at + 1) * room), done * wide);
    shift(weight, done * wide);
  }
  return labels;

  function add(answer, left) {
    for (let y = 0; y < tile.height; y++)
      for (let x = 0; x < tile.width; x++) {
        const share = Math.fround(down[y] * across[x]), to = y * wide + left + x;
        weight[to] += share;
        for (let at = 0; at < classes; at++)
          total[at * room + to] += Math.fround(share * answer[(at * tile.height + y) * tile.width + x]);
      }
  }

  function largest(at) {
    let best = 0, most = -Infinity;
    for (let label = 0; label < classes; label++) {
      const value = Math.fround(total[label * room + at] / weight[at]);
      if (value > most) [best, most] = [label, value];
    }
    return best;
  }
}

// Drops `count` values at the start and fills up with zeros.
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
