"use strict";
// The page: takes pictures in, hands them to the worker, shows what it says. What is shown is of one picture at any
// time: nothing changes before all that belongs to it is there.

const OWN = 24; // pictures of the user's in the strip, at most
const theme = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
root.dataset.theme = theme.matches ? "dark" : "light"; // before anything is drawn

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const text = (id) => one(`#${id}`).textContent;

let facts, worker, answered;
let current; // the button of the picture that is shown
let number = 0; // of the picture that was asked for last: answers to others come too late
let settle = () => {}; // ends the wait for the picture before
let begin; // what is asked for while the networks load waits for this call
const loaded = new Promise((resolve) => (begin = resolve));
const failed = {}; // name of a network → why it can't run

document.addEventListener("DOMContentLoaded", async () => {
  facts = JSON.parse(text("facts"));
  dress();
  listen();
  try {
    await load();
  } catch (error) {
    giveUp(error.message ?? String(error));
    return;
  }
  document.body.dataset.state = "ready";
  begin();
  const first = one("[data-gallery]");
  if (number) return; // a picture has been asked for already
  if (first) await show(first);
  else one("#verdict").textContent = "Ready for your picture.";
});

// ---- the networks

async function load() {
  if (typeof DecompressionStream === "undefined" || typeof OffscreenCanvas === "undefined")
    throw new Error("this browser is too old for it; one of 2023 or later will do");
  const names = ["worker", "module", "binary", "student", "teacher"].filter((name) => one(`#part-${name}`));
  const parts = Object.fromEntries(await Promise.all(names.map(async (name) => {
    const element = one(`#part-${name}`), content = await unpacked(element.textContent);
    element.remove(); // its text is long
    return [name, content];
  })));
  worker = new Worker(URL.createObjectURL(new Blob([parts.worker], { type: "text/javascript" })));
  const models = { student: parts.student, ...(parts.teacher && { teacher: parts.teacher }) };
  const { stored, ...about } = facts;
  await new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message || "its worker doesn't start"));
    worker.onmessage = ({ data }) => {
      if (data.ready) {
        Object.assign(failed, data.failed);
        data.failed.student ? reject(new Error(data.failed.student)) : resolve();
      } else if (data.number === number) {
        answered(data);
      }
    };
    worker.postMessage({ load: { module: parts.module, binary: parts.binary, models, about } });
  });
}

// Base64 of gzip → ArrayBuffer.
async function unpacked(base64) {
  const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function giveUp(why) {
  document.body.dataset.state = "failed";
  one("#verdict").textContent = "";
  complain(`The student can't be loaded: ${why}.`);
  for (const button of all("#strip button")) button.disabled = true;
}

// ---- pictures in

function listen() {
  const input = one("#file"), body = document.body;
  one("#choose").onclick = () => input.click();
  input.onchange = () => {
    const files = [...input.files];
    input.value = ""; // else choosing the same file again would change nothing
    take(files);
  };
  one("#strip").onclick = ({ target }) => target.closest(".thumb") && show(target.closest(".thumb"));
  one("#strip").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], buttons = all("#strip button");
    if (!step) return;
    event.preventDefault();
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  };
  let inside = 0; // dragenter comes for every element on the way
  const dragging = (change) => body.classList.toggle("dragging", (inside = Math.max(0, inside + change)) > 0);
  addEventListener("dragenter", (event) => { event.preventDefault(); dragging(1); });
  addEventListener("dragleave", () => dragging(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(-inside);
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => event.clipboardData.files.length && take([...event.clipboardData.files]));
  one("#theme").onclick = () => paint(root.dataset.theme === "dark" ? "light" : "dark");
  theme.onchange = () => paint(theme.matches ? "dark" : "light");
  const opacity = one("#opacity");
  if (opacity) opacity.oninput = () => {
    root.style.setProperty("--opacity", opacity.value / 100);
    one(".legend output").textContent = `${opacity.value} %`;
  };
  paint(root.dataset.theme);
}

function paint(name) {
  root.dataset.theme = name;
  one("#theme").setAttribute("aria-pressed", name === "dark");
}

// Dropped, pasted or chosen files: into the strip, and the first of them shown, once the networks are there. What is
// left out is said in one line.
async function take(files) {
  const failed = () => document.body.dataset.state === "failed"; // and the page says so already
  if (failed() || !files.length) return;
  hint();
  const good = [], bad = [];
  for (const file of files) {
    if (good.length === OWN) break;
    try {
      good.push(thumb(file, await opened(URL.createObjectURL(file), file.name)));
    } catch (error) {
      bad.push(error.message);
    }
  }
  if (failed()) return;
  one("#choose").parentElement.after(...good.map((button) => button.parentElement));
  const oldest = all("#strip .own").slice(OWN), over = files.length - good.length - bad.length + oldest.length;
  oldest.forEach(forget);
  const refused = good.length && (await show(good[0]));
  if (refused) bad.unshift(refused);
  const said = bad.slice(0, 1), more = bad.length - 1;
  if (more > 0) said.push(`And ${more} more ${more === 1 ? "was" : "were"} left out.`);
  if (over) said.push(`Only ${OWN} of your pictures fit in: ${over} ${over === 1 ? "is" : "are"} not among them.`);
  if (said.length) complain(said.join(" "));
}

// An image element, its head read. Raises an Error that says in one line why not.
async function opened(url, name) {
  const image = new Image();
  image.src = url;
  try {
    await new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject }));
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`${name} is no picture that this browser can read.`);
  }
  const pixels = image.naturalWidth * image.naturalHeight;
  if (pixels > facts.largest) {
    URL.revokeObjectURL(url);
    const size = Math.ceil(pixels / 1e5) / 10; // rounded up, so that it is never the limit itself
    throw new Error(`${name} has ${size} megapixels; this page takes up to ${facts.largest / 1e6}.`);
  }
  image.dataset.name = name;
  return image;
}

function thumb(file, image) {
  const button = document.createElement("button"), item = document.createElement("li");
  Object.assign(button, { type: "button", className: "thumb own", picture: file });
  button.setAttribute("aria-label", `Your picture ${file.name}`);
  button.setAttribute("aria-pressed", "false");
  image.alt = "";
  image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < 100);
  button.append(image);
  item.append(button);
  return button;
}

function forget(button) {
  URL.revokeObjectURL(one("img", button).src);
  button.parentElement.remove();
}

function picture(button) {
  if (button.picture) return button.picture;
  const [head, content] = one("img", button).src.split(",");
  return new Blob([bytes(content)], { type: head.slice(5).split(";")[0] });
}

// ---- answers out

// Ends when a first answer is there (a slow teacher's comes later), or another picture is asked for. Gives the line
// that says why the picture is refused, where it is.
async function show(button) {
  if (document.body.dataset.state === "failed") return;
  const image = one("img", button), { gallery } = button.dataset, mine = (number += 1);
  hint();
  press(button);
  settle();
  await loaded;
  if (mine !== number) return;
  document.body.dataset.state = "busy";
  worker.postMessage({ picture: picture(button), number });
  return new Promise((resolve) => {
    settle = resolve;
    answered = async (said) => {
      const why = said.refused && `${image.dataset.name} ${said.refused}.`;
      if (why) {
        refuse(button, why);
      } else {
        current = button;
        await render(said, image, gallery === undefined ? null : facts.stored[gallery]);
      }
      if (mine === number && (said.done || why)) document.body.dataset.state = "ready";
      resolve(why);
    };
  });
}

function refuse(button, why) {
  complain(why);
  press(current);
  if (button.picture) forget(button);
}

async function render(said, image, stored) {
  if (stored) said.answers.teacher ??= stored.found ? await restored(stored) : stored;
  caption(image);
  portray(image);
  (facts.task === "classification" ? classes : masks)(said);
  for (const name of ["student", "teacher"]) report(name, said.answers[name], said.done);
}

async function restored(stored) {
  return { ...stored, found: new Uint16Array(await unpacked(stored.found)) };
}

function press(button) {
  for (const other of all(".thumb")) other.setAttribute("aria-pressed", other === button);
  button?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function caption(image) {
  const size = `${image.naturalWidth} × ${image.naturalHeight}`;
  const { name, truth } = image.dataset;
  one(".caption").textContent = `${name}, ${size}` + (truth === undefined ? "" : `, labelled ${truth}`);
}

// The photograph in its frame, or in both; a mask lies on the part of it that is used.
function portray(image) {
  const { naturalWidth: width, naturalHeight: height } = image, side = Math.min(width, height);
  const cropped = facts.sizing.resize === "crop";
  for (const photo of all(".photo")) {
    const shown = one("img", photo), style = photo.style;
    shown.src = image.src;
    shown.alt = image.dataset.name;
    shown.hidden = false;
    shown.className = Math.max(width, height) < 100 ? "tiny" : "";
    style.setProperty("--ratio", width / height);
    style.setProperty("--wide", cropped ? `${(100 * side) / width}%` : "100%");
    style.setProperty("--high", cropped ? `${(100 * side) / height}%` : "100%");
    style.setProperty("--left", cropped ? `${(50 * (width - side)) / width}%` : "0");
    style.setProperty("--top", cropped ? `${(50 * (height - side)) / height}%` : "0");
  }
}

function classes({ whole, answers }) {
  const seen = new ImageData(whole.width, whole.height);
  for (let from = 0, to = 0; from < whole.pixels.length; from += 3, to += 4)
    seen.data.set([whole.pixels[from], whole.pixels[from + 1], whole.pixels[from + 2], 255], to);
  one("#seen").getContext("2d").putImageData(seen, 0, 0);
  const best = {};
  for (const [name, answer] of Object.entries(answers)) {
    const top = answer.top ?? [...answer.probabilities.entries()].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    for (const [rank, row] of all(`.${name} .bars li`).entries()) {
      const [label, probability] = top[rank];
      one(".label", row).textContent = one(".label", row).title = facts.classes[label];
      one(".value", row).textContent = percent(probability);
      one(".bar i", row).style.setProperty("--share", `${100 * probability}%`);
    }
    best[name] = facts.classes[top[0][0]];
  }
  const { student, teacher } = best;
  one("#verdict").textContent = (teacher === undefined ? `The student says ${student}.`
    : student === teacher ? `Both say ${student}.` : `The student says ${student}, the teacher ${teacher}.`) + pace(answers);
}

function masks({ answers }) {
  const shares = {};
  for (const [name, { height, width, found }] of Object.entries(answers)) {
    const canvas = one(`.${name} .mask`), drawn = new ImageData(width, height), counts = facts.classes.map(() => 0);
    for (const [at, label] of found.entries()) {
      counts[label] += 1;
      drawn.data.set(facts.colours[label], 4 * at);
      drawn.data[4 * at + 3] = 255;
    }
    Object.assign(canvas, { height, width, hidden: false }).getContext("2d").putImageData(drawn, 0, 0);
    shares[name] = counts.map((count) => count / found.length);
  }
  if (!answers.teacher) one(".teacher .mask").hidden = true;
  for (const [label, row] of all(".legend tbody tr").entries()) {
    const both = [shares.student, shares.teacher].map((share) => share?.[label]);
    for (const [at, cell] of all("td", row).entries()) cell.textContent = both[at] === undefined ? "–" : percent(both[at]);
    row.className = both.some((share) => share > 0) ? "" : "none";
  }
  const { student, teacher } = answers;
  const same = teacher && student.found.reduce((sum, label, at) => sum + (label === teacher.found[at]), 0);
  one("#verdict").textContent = (teacher ? `Both see the same in ${percent(same / student.found.length)} of the pixels.`
    : "This is what the student sees.") + pace(answers);
}

function pace({ student, teacher }) {
  if (!teacher?.ms) return ` It took ${spent(student.ms)}.`;
  const ratio = teacher.ms / student.ms, times = (value) => value.toFixed(value < 9.95 ? 1 : 0);
  return ` The student took ${spent(student.ms)}, the teacher ${spent(teacher.ms)}: `
    + (ratio >= 1 ? `${times(ratio)} times as long.` : `${times(1 / ratio)} times as fast.`);
}

function report(name, answer, done) {
  const card = one(`.answer.${name}`), absent = one(".absent", card);
  one(".time", card).textContent = answer?.ms ? spent(answer.ms) : answer ? "stored answer" : "–";
  absent.hidden = Boolean(answer);
  absent.textContent = !done ? `The ${name} is still at work …`
    : failed[name] ? `The ${name} can't be loaded: ${failed[name]}.`
    : `The ${name} is too large for this page. Its answers are stored for the test pictures above, not for yours.`;
}

function dress() {
  for (const [label, swatch] of all(".swatch").entries())
    swatch.style.setProperty("--colour", `rgb(${facts.colours[label].join(" ")})`);
}

function percent(share) {
  return `${(100 * share).toFixed(2)} %`;
}

function spent(ms) {
  if (ms >= 999.5) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 9.995 ? 2 : ms < 99.95 ? 1 : 0)} ms`;
}

function hint() {
  const line = one("#hint");
  line.textContent = line.dataset.hint;
  line.classList.remove("wrong");
}

function complain(why) {
  one("#hint").textContent = why;
  one("#hint").classList.add("wrong");
}
