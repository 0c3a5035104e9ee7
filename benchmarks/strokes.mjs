// Runs demo/strokes.js outside a browser: node strokes.mjs <resize.js> <strokes.js> <folder>
// In: cases.json, {form, tile: {height, width}, pictures: [{name, height, width}]}, and for each <name>.rgba. Out:
// <name>.formed, of the tile's height and width, RGB, which is empty where there are no strokes.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import vm from "node:vm";

const [, , resize, strokes, folder] = process.argv;
const code = [resize, strokes].map((path) => readFileSync(path, "utf8")).join("\n");
const asTrained = vm.runInThisContext(`${code}\n;asTrained`);

const { form, tile, pictures } = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
for (const { name, height, width } of pictures) {
  const rgba = readFileSync(join(folder, `${name}.rgba`));
  const rows = (top, count) => rgba.subarray(top * width * 4, (top + count) * width * 4);
  writeFileSync(join(folder, `${name}.formed`), asTrained({ height, width, rows }, form, tile)?.pixels ?? "");
}
