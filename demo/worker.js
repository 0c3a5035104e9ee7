"use strict";
// Runs the networks in a web worker, so that the page stays responsive. One script with onnxruntime-web, resize.js and
// strokes.js.
// In: {load: {module, binary, models, config}} once, then {picture, number, isStrokes, isDrawn} each. Strokes are brought
// to the training images' form; what is drawn is not timed, so that answers keep up with the pen.
// Out: {ready, failed: {network: reason}, coarse}, then {number, image, answers, done} or {number, refused: reason}. The
// student's answer comes alone, with done: false, if the teacher is slow.

// To time it, a network runs for a block of BLOCK ms: TURNS of them when it is loaded, one for each picture; once, if that
// takes TOO_SLOW ms. A single short run would be 0 ms by some browsers' clocks: they tick once a millisecond, where asked
// for privacy once in 100. The best block counts: an interruption would hit the slower network more often.
const BLOCK = 50, TURNS = 3, TOO_SLOW = 500, COARSE = 2.5; // ms; a clock that ticks more slowly tells no ratio
const KEPT = 9; // blocks
const SLOW = 300; // ms
const sessions = {}, blocks = {}; // name of a network → its session; ms a tile of its last blocks
let config, latest, queue = Promise.resolve();

onmessage = ({ data }) => {
  if (data.picture) latest = data.number;
  queue = queue.then(() => (data.load ? load(data.load) : data.number === latest && respond(data)));
};

async function load({ module, binary, models, config: given }) {
  config = given;
  Object.assign(ort.env.wasm, {
    numThreads: 1, wasmBinary: binary,
    wasmPaths: { mjs: URL.createObjectURL(new Blob([module], { type: "text/javascript" })) },
  });
  ort.env.logLevel = "error";
  const failed = {};
  for (const [name, model] of Object.entries(models)) {
    try {
      sessions[name] = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
      blocks[name] = [];
      await timed(name, new Uint8Array(config.sizing.height * config.sizing.width * 3), TURNS);
    } catch (error) {
      delete sessions[name];
      failed[name] = oneLine(error);
    }
  }
  postMessage({ ready: true, failed, coarse: tick() > COARSE });
}

async function respond({ picture: file, number, isStrokes, isDrawn }) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    postMessage({ number, refused: "is no picture that this browser can read" });
    return;
  }
  try {
    const source = readable(bitmap), answers = {};
    const image = isStrokes ? asTrained(source, config.form, config.sizing) : resized(source, config.sizing);
    if (!image) {
      postMessage({ number, refused: "shows no strokes that stand out from their ground" });
      return;
    }
    const { height, width, overlap } = config.sizing;
    const tiles = starts(image.height, height, overlap).length * starts(image.width, width, overlap).length;
    for (const name of Object.keys(sessions)) {
      if (answers.student && tiles * pace(name).ms > SLOW) postMessage({ number, image, answers, done: false });
      answers[name] = await answer(name, image, tiles, number, isDrawn);
    }
    postMessage({ number, image, answers, done: true });
  } catch (error) {
    if (number === latest) postMessage({ number, refused: `could not be worked on (${oneLine(error)})` });
  } finally {
    bitmap.close();
  }
}

// The bitmap in the form that `resized` takes, transparency on white.
function readable(bitmap) {
  const { width, height } = bitmap;
  const strip = Math.max(1, Math.floor(STRIP / width));
  const canvas = new OffscreenCanvas(width, Math.min(strip, height));
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.fillStyle = "white";
  return { width, height, rows };

  function rows(top, count) {
    context.fillRect(0, 0, width, count);
    context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
    return context.getImageData(0, 0, width, count).data;
  }
}

// Classifier: {ms, usual, probabilities}. Segmenter: {ms, usual, height, width, labels: the class of each pixel}; every
// tile takes as long as the first.
async function answer(name, image, tiles, number, isDrawn) {
  const { height, width } = image;
  if (config.task === "classification") {
    const logits = await (isDrawn ? run : timed)(name, cut(image, 0, 0, config.sizing));
    return { ...pace(name), probabilities: softmax(logits) };
  }
  let isTimed = false;
  const labels = await blended(height, width, config.classes.length, config.sizing, async (top, left) => {
    if (tiles > 1) await new Promise((resolve) => setTimeout(resolve)); // lets new messages in
    if (number !== latest) throw new Error("another picture was requested");
    const logits = await (isTimed ? run : timed)(name, cut(image, top, left, config.sizing));
    isTimed = true;
    return logits;
  });
  const { ms, usual } = pace(name);
  return { ms: ms * tiles, usual: usual * tiles, height, width, labels };
}

// As `run`, and notes how long it takes.
async function timed(name, tile, turns = 1) {
  const began = performance.now(), logits = await run(name, tile), once = performance.now() - began;
  if (once > TOO_SLOW) blocks[name].push(once);
  for (let turn = 0; turn < turns && once <= TOO_SLOW; turn++) {
    const begin = performance.now();
    let runs = 0, spent = 0;
    while (spent < BLOCK) {
      await run(name, tile);
      runs += 1;
      spent = performance.now() - begin;
    }
    blocks[name].push(spent / runs);
  }
  blocks[name] = blocks[name].slice(-KEPT);
  return logits;
}

// ms: a tile's time in the best block; usual: in the median one.
function pace(name) {
  const sorted = [...blocks[name]].sort((one, other) => one - other);
  return { ms: sorted[0], usual: sorted[sorted.length >> 1] };
}

// The smallest step of the clock, ms.
function tick() {
  let last = performance.now(), least = Infinity;
  for (let steps = 0; steps < 3;) {
    const now = performance.now();
    if (now === last) continue;
    if (steps) least = Math.min(least, now - last); // the first step is cut short
    last = now;
    steps += 1;
  }
  return least;
}

async function run(name, tile) {
  const { height, width } = config.sizing, tensor = new ort.Tensor("uint8", tile, [1, height, width, 3]);
  return (await sessions[name].run({ image: tensor })).logits.data;
}

function oneLine(error) {
  return String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 200);
}
