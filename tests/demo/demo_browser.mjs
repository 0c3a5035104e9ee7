// Drives pages in headless browsers: node demo_browser.mjs <folder of package.json>
// In: a plan a line, as JSON: {page, browser: chromium | firefox, program: its path, width, height, theme: light | dark
// (Firefox begins with light), steps: [{do, …}], early: {files, when: page | worker}, dropped as soon as the one or the
// other is there, long before the networks}
// Out: a line for each, as JSON: {steps: what the page showed after each, requests: addresses asked for, problems: what the
// console said}, or {failure}. A browser is started once; every plan has a context of its own in it.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [, , packages] = process.argv;
const browsers = createRequire(resolve(packages, "package.json"))("playwright-core");

// The steps that a plan may name: (tab, step) → what is to be noted beside what the page shows.
const actions = {
  open: () => {},
  gallery: (tab, { index }) => tab.click(`[data-gallery="${index}"]`),
  choose: async (tab, { files }) => {
    await tab.setInputFiles("#file", files);
  },
  drop: async (tab, { files }) => hand(tab, "drop", files),
  // Others are dropped while the first of those that were chosen is worked on.
  overtake: async (tab, { files, then }) => {
    const own = await tab.locator("#strip .own").count();
    await tab.setInputFiles("#file", files);
    await tab.waitForFunction((count) => document.querySelectorAll("#strip .own").length > count, own);
    await hand(tab, "drop", then);
    return { chosen: await tab.inputValue("#file") };
  },
  paste: async (tab, { files }) => hand(tab, "paste", files),
  keys: async (tab, { keys }) => {
    for (const key of keys) await tab.keyboard.press(key);
    return tab.evaluate(() => ({ focus: document.activeElement.id || document.activeElement.getAttribute("aria-label") }));
  },
  theme: async (tab) => {
    await tab.click("#theme");
    return { theme: await tab.evaluate(() => document.documentElement.dataset.theme) };
  },
  // Draws strokes, [[x, y], …] in hundredths of the pad, with the mouse, on an empty pad.
  draw: async (tab, { strokes }) => {
    await tab.click("#draw");
    if (await tab.isVisible("#draw.drawn")) await tab.click("#clear");
    const { x, y, width, height } = await tab.locator("#pad").boundingBox();
    const to = ([across, down]) => tab.mouse.move(x + (across * width) / 100, y + (down * height) / 100);
    for (const stroke of strokes) {
      await to(stroke[0]);
      await tab.mouse.down();
      for (const point of stroke.slice(1)) await to(point);
      await tab.mouse.up();
    }
  },
  pad: (tab) => tab.click("#draw"),
  // Presses a button by keyboard (Clear, say, or a picture's) while the mouse draws on the pad.
  interrupt: async (tab, { button }) => {
    const { x, y } = await tab.locator("#pad").boundingBox();
    await tab.mouse.move(x + 40, y + 40);
    await tab.mouse.down();
    await tab.mouse.move(x + 60, y + 60);
    await tab.press(button, "Enter");
    await tab.waitForFunction(() => document.body.dataset.state === "ready");
    await tab.mouse.move(x + 80, y + 40);
    await tab.mouse.up();
  },
  clear: (tab) => tab.click("#clear"),
  strokes: (tab) => tab.click("#strokes"),
  size: (tab, { width, height }) => tab.setViewportSize({ width, height }),
  camera: async (tab, { denied, clicks = 1 }) => {
    if (denied) await tab.evaluate(() => {
      navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotAllowedError"); };
    });
    await tab.evaluate((times) => {
      const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
      window.films = []; // the streams that were opened
      media.getUserMedia = async (wish) => window.films[window.films.push(await ask(wish)) - 1];
      while (times--) document.querySelector("#camera").click();
    }, clicks);
    if (denied) return tab.waitForTimeout(100);
    await tab.waitForFunction(() => document.querySelector("#lens video").videoWidth);
    await tab.click("#take");
    await tab.waitForFunction(() => document.querySelector(".caption").textContent.startsWith("photograph"));
    return tab.evaluate(() => ({ films: window.films.map((film) => film.active) }));
  },
  // What axe finds that is serious or critical: [[rule, the first element's HTML], …].
  axe: async (tab) => {
    const code = readFileSync(join(packages, "node_modules/axe-core/axe.min.js"), "utf8");
    return { findings: await tab.evaluate(`${code}; axe.run().then(({ violations }) => violations
      .filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => [id, nodes[0].html]))`) };
  },
  opacity: async (tab, { value }) => {
    await tab.fill("#opacity", String(value));
    return tab.evaluate(() => ({ opacity: getComputedStyle(document.querySelector(".mask")).opacity }));
  },
  shot: async (tab, { path, whole }) => {
    await tab.waitForTimeout(400); // bars move
    await tab.screenshot({ path, fullPage: Boolean(whole) });
  },
  // Tries to get out: what of it reached a server of this machine?
  leak: async (tab) => {
    let reached = 0;
    const server = createServer((_, response) => { reached += 1; response.end("here"); });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    const blocked = await tab.evaluate(async (address) => {
      const failed = (promise) => promise.then(() => false, () => true);
      const image = (url) => new Promise((done, stop) =>
        Object.assign(new Image(), { onload: done, onerror: stop, src: url }));
      const script = `fetch("${address}").then(() => postMessage(false), () => postMessage(true))`;
      const worker = new Worker(URL.createObjectURL(new Blob([script])));
      return [await failed(fetch(address)), await failed(image(address)),
        await new Promise((done) => { worker.onmessage = ({ data }) => done(data); })];
    }, `http://127.0.0.1:${server.address().port}/`);
    server.close();
    return { reached, blocked };
  },
};

// Each has a camera that shows a test pattern, and asks nobody whether it may. Firefox as it is shipped is driven by
// WebDriver BiDi.
const options = {
  chromium: { chromiumSandbox: false, args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] },
  firefox: { channel: "moz-firefox",
    firefoxUserPrefs: { "media.navigator.streams.fake": true, "media.navigator.permission.disabled": true } },
};
const started = {};
for await (const line of createInterface({ input: process.stdin })) {
  const plan = JSON.parse(line), { browser, program } = plan;
  try {
    started[browser] ??= await browsers[browser].launch({ ...options[browser], executablePath: program });
    console.log(JSON.stringify(await carriedOut(plan, started[browser])));
  } catch (error) {
    console.log(JSON.stringify({ failure: String(error.stack) }));
  }
}
for (const browser of Object.values(started)) await browser.close();

async function carriedOut(plan, browser) {
  const isChromium = plan.browser === "chromium";
  const context = await browser.newContext({
    viewport: { width: plan.width, height: plan.height }, colorScheme: plan.theme, deviceScaleFactor: plan.scale ?? 1,
    ...(isChromium && plan.width < 600 && { isMobile: true, hasTouch: true }),
  });
  const tab = await context.newPage(), requests = [], problems = [];
  context.on("request", (request) => requests.push(request.url().slice(0, 60)));
  tab.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  tab.on("pageerror", (error) => problems.push(String(error)));
  const jumps = `new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    if (!entry.hadRecentInput) window.jumped = (window.jumped ?? 0) + entry.value; }))
    .observe({ type: "layout-shift", buffered: true })`;
  if (isChromium) await tab.addInitScript(jumps); // Firefox doesn't measure them
  if (plan.early) await tab.addInitScript(`{
    const drop = () => setTimeout(${give}, 0, ["drop", ${JSON.stringify(contents(plan.early.files))}]);
    if (${plan.early.when === "page"}) addEventListener("DOMContentLoaded", drop);
    else window.Worker = class extends Worker { constructor(...given) { super(...given); drop(); } };
  }`);
  await tab.goto(pathToFileURL(resolve(plan.page)).href);
  const steps = [];
  for (const step of [{ do: "open" }, ...plan.steps]) {
    const extra = await actions[step.do](tab, step);
    await tab.waitForFunction(() => ["ready", "failed"].includes(document.body.dataset.state), null, { timeout: 60000 });
    if (step.do !== "draw") await tab.waitForTimeout(100); // observers are told a little later
    steps.push({ ...(await shown(tab)), ...extra });
  }
  await context.close();
  return { steps, requests, problems };
}

async function hand(tab, kind, files) {
  await tab.evaluate(give, [kind, contents(files)]);
}

function contents(files) {
  return files.map((file) => [basename(file), readFileSync(file).toString("base64")]);
}

// Runs in the page.
function give([kind, files]) {
  const data = new DataTransfer();
  for (const [name, base64] of files)
    data.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name));
  const event = kind === "drop" ? new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data })
    : new ClipboardEvent("paste", { bubbles: true, clipboardData: data });
  document.querySelector("main").dispatchEvent(event);
}

function shown(tab) {
  return tab.evaluate(() => {
    const said = (selector) => document.querySelector(selector)?.textContent.trim();
    const bars = (name) => [...document.querySelectorAll(`.${name} .bars li`)].map((row) =>
      [row.querySelector(".label").textContent, row.querySelector(".value").textContent]);
    const mask = (name) => {
      const canvas = document.querySelector(`.${name} .mask`);
      if (!canvas || canvas.hidden) return null;
      const copy = Object.assign(document.createElement("canvas"), { height: canvas.height, width: canvas.width });
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
      let letters = "";
      for (let at = 0; at < pixels.length; at += 4096) letters += String.fromCharCode(...pixels.subarray(at, at + 4096));
      return { height: canvas.height, width: canvas.width, rgba: btoa(letters) };
    };
    const both = (what) => ({ student: what("student"), teacher: what("teacher") });
    const box = (selector) => document.querySelector(selector)?.getBoundingClientRect().toJSON();
    // [left, top, right, bottom] of a network's mask, as shares of the photograph beneath it.
    const part = (name) => {
      const photo = box(`.${name} .photo img`), over = box(`.${name} .mask`);
      return over && [(over.left - photo.left) / photo.width, (over.top - photo.top) / photo.height,
        (over.right - photo.left) / photo.width, (over.bottom - photo.top) / photo.height];
    };
    return {
      state: document.body.dataset.state, hint: said("#hint"), wrong: document.querySelector("#hint").className === "wrong",
      verdict: said("#verdict"), caption: said(".caption"), absent: document.querySelector(".teacher .absent").hidden
        ? null : said(".teacher .absent"), bars: both(bars), masks: both(mask), parts: both(part),
      shares: [...document.querySelectorAll(".legend tbody tr")].map((row) => [...row.children].map((cell) =>
        cell.textContent)), times: both((name) => said(`.answer.${name} .time`)),
      unsure: both((name) => document.querySelector(`.${name} .unsure`)?.hidden === false),
      strip: document.querySelectorAll("#strip .thumb").length, board: box("#board"), about: box(".about"),
      jumped: window.jumped ?? 0, wide: document.documentElement.scrollWidth - innerWidth,
    };
  });
}
