"use strict";
// Runs the networks, away from the page, so that it never stalls. Behind onnxruntime-web and resize.js in one script.
// In: {load: …} once, then {picture, number} each. Out: {ready, failed: why some network can't run}, then
// {number, whole, answers, done} | {number, refused}; a slow network's answer comes behind, with {done: false} before it.

// To tell its time a network is run in up to BLOCKS blocks of at least BLOCK ms, as long as all take no more than LONG;
// one that isn't TOO_SLOW at least three times.
const LONG = 150, BLOCK = 2, BLOCKS = 9, TOO_SLOW = 500;
const SLOW = 300; // ms, from which on a network's answer is worth waiting for on its own
const sessions = {}, pace = {}; // name of a network → how to run it; ms for a square
let facts, wanted, queue = Promise.resolve();

onmessage = ({ data }) => {
  if (data.picture) wanted = data.number;
  queue = queue.then(() => (data.load ? load(data.load) : data.number === wanted && look(data.picture, data.number)));
};

async function load({ module, binary, models, about }) {
  facts = about;
  Object.assign(ort.env.wasm, {
    numThreads: 1, wasmBinary: binary,
    wasmPaths: { mjs: URL.createObjectURL(new Blob([module], { type: "text/javascript" })) },
  });
  ort.env.logLevel = "error";
  const failed = {};
  for (const [name, model] of Object.entries(models)) {
    try {
      sessions[name] = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
      pace[name] = (await timed(name, new Uint8Array(facts.sizing.size ** 2 * 3))).ms; // the first runs take longer
    } catch (error) {
      delete sessions[name];
      failed[name] = line(error);
    }
  }
  postMessage({ ready: true, failed });
}

async function look(file, number) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    postMessage({ number, refused: "is no picture that this browser can read" });
    return;
  }
  try {
    const whole = resized(drawn(bitmap), facts.sizing), answers = {};
    const squares = starts(whole.height, facts.sizing).length * starts(whole.width, facts.sizing).length;
    for (const name of Object.keys(sessions)) {
      if (answers.student && squares * pace[name] > SLOW) postMessage({ number, whole, answers, done: false });
      answers[name] = await answer(name, whole, squares, number);
    }
    postMessage({ number, whole, answers, done: true });
  } catch (error) {
    if (number === wanted) postMessage({ number, refused: `could not be worked on (${line(error)})` });
  } finally {
    bitmap.close();
  }
}

// The bitmap as `resized` reads it, transparency laid on white.
function drawn(bitmap) {
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

// {ms, probabilities} of a classifier; {ms, height, width, found: the class of each pixel} of a segmenter.
async function answer(name, whole, squares, number) {
  const { size } = facts.sizing, { height, width } = whole;
  if (facts.task === "classification") {
    const { ms, logits } = await timed(name, cut(whole, 0, 0, size));
    return { ms, probabilities: softmax(logits) };
  }
  let ms = 0;
  const found = await blended(height, width, facts.classes.length, facts.sizing, async (top, left) => {
    if (squares > 1) await new Promise((resolve) => setTimeout(resolve)); // lets in what has arrived
    if (number !== wanted) throw new Error("another picture is asked for");
    const one = await (squares === 1 ? timed : run)(name, cut(whole, top, left, size));
    ms += one.ms;
    return one.logits;
  });
  return { ms, height, width, found };
}

// What `run` gives, ms being the best mean of several blocks where runs are short: clocks in browsers are coarse, and
// what else the machine does would fall on the slower network far more often.
async function timed(name, square) {
  const first = await run(name, square);
  const each = Math.min(20, Math.ceil(BLOCK / Math.max(first.ms, 0.1)));
  let best = first.ms;
  const begin = performance.now(), least = first.ms < TOO_SLOW ? 2 : 0;
  for (let block = 0; block < BLOCKS && (block < least || performance.now() - begin < LONG - first.ms); block++) {
    let ms = 0;
    for (let at = 0; at < each; at++) ms += (await run(name, square)).ms;
    best = Math.min(best, ms / each);
  }
  return { ms: best, logits: first.logits };
}

async function run(name, square) {
  const { size } = facts.sizing, image = new ort.Tensor("uint8", square, [1, size, size, 3]);
  const begin = performance.now(), { logits } = await sessions[name].run({ image });
  return { ms: performance.now() - begin, logits: logits.data };
}

function line(error) {
  return String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 200);
}
