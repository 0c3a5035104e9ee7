// Runs demo/resize.js outside a browser: node demo_squares.mjs <resize.js> <folder>
// In: cases.json, [{name, height, width, classes, sizing}], and for each <name>.rgba and <name>.logits (K,C,height,width).
// Out: <name>.squares (K,height,width,3) and <name>.found, uint16 (H,W): the class of each pixel, brought to scale.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import vm from "node:vm";

const [, , script, folder] = process.argv;
const code = readFileSync(script, "utf8") + "\n;({ resized, starts, cut, blended })";
const { resized, starts, cut, blended } = vm.runInThisContext(code);

for (const { name, height, width, classes, sizing } of JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"))) {
  const rgba = readFileSync(join(folder, `${name}.rgba`));
  const rows = (top, count) => rgba.subarray(top * width * 4, (top + count) * width * 4);
  const whole = resized({ height, width, rows }, sizing);
  const squares = starts(whole.height, sizing.height, sizing.overlap).flatMap((top) =>
    starts(whole.width, sizing.width, sizing.overlap).map((left) => cut(whole, top, left, sizing)));
  writeFileSync(join(folder, `${name}.squares`), Buffer.concat(squares));

  const logits = new Float32Array(new Uint8Array(readFileSync(join(folder, `${name}.logits`))).buffer);
  const each = classes * sizing.height * sizing.width;
  let next = 0;
  const found = await blended(whole.height, whole.width, classes, sizing, async () =>
    logits.subarray(next++ * each, next * each));
  writeFileSync(join(folder, `${name}.found`), new Uint8Array(found.buffer));
}
