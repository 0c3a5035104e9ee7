"use strict";
// The page: accepts pictures, hands them to the worker, and shows its answers. Everything shown belongs to one picture:
// nothing changes until its answer is there.

const MAX_OWN = 24; // the user's pictures in the strip
const theme = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
root.dataset.theme = theme.matches ? "dark" : "light"; // before anything is drawn

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

let config, worker, onAnswer;
let current; // the button of the picture that is shown
let number = 0; // of the picture requested last: answers to earlier ones are ignored
let reading = 0; // batches of files, and drawings, that are being read
let isAsked = false; // whether the worker owes an answer
let endWait = () => {}; // ends the wait for the previous picture
let setLoaded;
const loaded = new Promise((resolve) => (setLoaded = resolve)); // pictures requested before wait for it
const failed = {}; // name of a network → why it can't run
const UNSURE = 0.5; // probability, below which a network's best guess is called one
let isCoarse; // whether the clock is too coarse to compare times

document.addEventListener("DOMContentLoaded", async () => {
  config = JSON.parse($("#config").textContent);
  colourSwatches();
  listen();
  listenToCamera();
  if (config.form) listenToPad();
  try {
    await load();
  } catch (error) {
    showFailure(error.message ?? String(error));
    return;
  }
  document.body.dataset.state = "ready";
  setBusy();
  setLoaded();
  const first = $("[data-gallery]");
  if (number) return; // a picture was requested while loading
  if (first) await show(first);
  else $("#verdict").textContent = "Ready for your picture.";
});

function setBusy() {
  const { dataset } = document.body;
  if (["ready", "busy"].includes(dataset.state)) dataset.state = reading || isAsked ? "busy" : "ready";
}

// ---- the networks

async function load() {
  if (typeof DecompressionStream === "undefined" || typeof OffscreenCanvas === "undefined")
    throw new Error("this browser is too old for it; one of 2023 or later will do");
  const names = ["worker", "module", "binary", "student", "teacher"].filter((name) => $(`#part-${name}`));
  const parts = Object.fromEntries(await Promise.all(names.map(async (name) => {
    const element = $(`#part-${name}`), content = await unpacked(element.textContent);
    element.remove(); // frees its long text
    return [name, content];
  })));
  worker = new Worker(URL.createObjectURL(new Blob([parts.worker], { type: "text/javascript" })));
  const models = { student: parts.student, ...(parts.teacher && { teacher: parts.teacher }) };
  const { stored, ...settings } = config;
  await new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message || "its worker doesn't start"));
    worker.onmessage = ({ data }) => {
      if (data.ready) {
        Object.assign(failed, data.failed);
        isCoarse = data.coarse;
        data.failed.student ? reject(new Error(data.failed.student)) : resolve();
      } else if (data.number === number) {
        onAnswer(data);
      }
    };
    worker.postMessage({ load: { module: parts.module, binary: parts.binary, models, config: settings } });
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

function showFailure(why) {
  document.body.dataset.state = "failed";
  $("#verdict").textContent = "";
  showError(`The student can't be loaded: ${why}.`);
  for (const button of $$("#strip button")) button.disabled = true;
}

// ---- pictures in

function listen() {
  const input = $("#file"), body = document.body;
  $("#choose").onclick = () => input.click();
  input.onchange = () => {
    const files = [...input.files];
    input.value = ""; // else choosing the same file again would change nothing
    addFiles(files);
  };
  $("#strip").onclick = ({ target }) => {
    const button = target.closest(".thumb");
    if (button) button.id === "draw" ? openPad() : show(button);
  };
  if (config.form) $("#strokes").onchange = () => current?.classList.contains("own") && show(current);
  $("#strip").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], buttons = $$("#strip button");
    if (!step) return;
    event.preventDefault();
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  };
  let inside = 0; // dragenter fires for every element on the way
  const dragging = (change) => body.classList.toggle("dragging", (inside = Math.max(0, inside + change)) > 0);
  addEventListener("dragenter", (event) => { event.preventDefault(); dragging(1); });
  addEventListener("dragleave", () => dragging(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(-inside);
    addFiles([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => event.clipboardData.files.length && addFiles([...event.clipboardData.files]));
  $("#theme").onclick = () => setTheme(root.dataset.theme === "dark" ? "light" : "dark");
  theme.onchange = () => setTheme(theme.matches ? "dark" : "light");
  const opacity = $("#opacity");
  if (opacity) opacity.oninput = () => {
    root.style.setProperty("--opacity", opacity.value / 100);
    $(".legend output").textContent = `${opacity.value} %`;
  };
  setTheme(root.dataset.theme);
}

function setTheme(name) {
  root.dataset.theme = name;
  $("#theme").setAttribute("aria-pressed", name === "dark");
  if (config.form) paint();
}

// Adds dropped, pasted or chosen files to the strip and shows the first, once the networks are loaded. One line says
// which are left out and why.
async function addFiles(files) {
  const hasFailed = () => document.body.dataset.state === "failed"; // the page shows it already
  if (hasFailed() || !files.length) return;
  clearError();
  const good = [], bad = [];
  reading += 1;
  setBusy();
  for (const file of files) {
    if (good.length === MAX_OWN) break;
    try {
      good.push(thumb(file, await openImage(URL.createObjectURL(file), file.name)));
    } catch (error) {
      bad.push(error.message);
    }
  }
  reading -= 1;
  if (hasFailed()) return;
  ($("#draw") ?? $("#camera")).parentElement.after(...good.map((button) => button.parentElement));
  const oldest = $$("#strip .own").slice(MAX_OWN), over = files.length - good.length - bad.length + oldest.length;
  oldest.forEach(removeThumb);
  if (!good.length) setBusy();
  const refused = good.length && (await show(good[0]));
  if (refused) bad.unshift(refused);
  const messages = bad.slice(0, 1), more = bad.length - 1;
  if (more > 0) messages.push(`And ${more} more ${more === 1 ? "was" : "were"} left out.`);
  if (over) messages.push(`Only ${MAX_OWN} of your pictures fit in: ${over} ${over === 1 ? "is" : "are"} not among them.`);
  if (messages.length) showError(messages.join(" "));
}

// An image element, its header read. Throws an Error whose message can be shown.
async function openImage(url, name) {
  const image = new Image();
  image.src = url;
  try {
    await new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject }));
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`${name} is no picture that this browser can read.`);
  }
  const pixels = image.naturalWidth * image.naturalHeight;
  if (pixels > config.maxPixels) {
    URL.revokeObjectURL(url);
    const size = Math.ceil(pixels / 1e5) / 10; // rounded up, so that it never equals the limit
    throw new Error(`${name} has ${size} megapixels; this page takes up to ${config.maxPixels / 1e6}.`);
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

function removeThumb(button) {
  URL.revokeObjectURL($("img", button).src);
  button.parentElement.remove();
}

function picture(button) {
  if (button.picture) return button.picture;
  const [head, content] = $("img", button).src.split(",");
  return new Blob([bytes(content)], { type: head.slice(5).split(";")[0] });
}

// ---- answers out

// Resolves when the first answer is shown (a slow teacher's comes later) or another picture is requested: to the reason
// if the picture was refused.
async function show(button) {
  if (document.body.dataset.state === "failed") return;
  const image = $("img", button), { gallery } = button.dataset, mine = (number += 1);
  if (button.id !== "draw") dropStroke();
  clearError();
  markPressed(button);
  endWait();
  await loaded;
  if (mine !== number) return;
  isAsked = true;
  setBusy();
  const isDrawn = button.id === "draw";
  const isStrokes = isDrawn || Boolean(button.picture && config.form && $("#strokes").checked);
  worker.postMessage({ picture: picture(button), number, isStrokes, isDrawn });
  return new Promise((resolve) => {
    endWait = resolve;
    onAnswer = async (answer) => {
      const why = answer.refused && `${image.dataset.name} ${answer.refused}.`;
      if (why) {
        refuse(button, why);
      } else {
        current = button;
        await render(answer, image, gallery === undefined ? null : config.stored[gallery]);
      }
      if (mine === number && (answer.done || why)) isAsked = false;
      setBusy();
      resolve(why);
    };
  });
}

function refuse(button, why) {
  showError(why);
  markPressed(current);
  if (button.classList.contains("own")) removeThumb(button);
}

// An empty pad: no answer belongs to it.
function showNothing(button, invitation) {
  if (document.body.dataset.state === "failed") return;
  number += 1; // what is still asked for is not shown
  endWait();
  isAsked = false;
  setBusy();
  clearError();
  current = button;
  markPressed(button);
  showPad();
  $("#pad").scrollIntoView({ block: "nearest" });
  $(".caption").textContent = "an empty pad";
  $("#verdict").textContent = invitation;
  $("#seen").getContext("2d").clearRect(0, 0, config.sizing.width, config.sizing.height);
  for (const text of $$(".label, .value, .time")) text.textContent = "–";
  for (const bar of $$(".bar i")) bar.style.setProperty("--share", "0%");
  for (const hidden of $$(".unsure, .absent")) hidden.hidden = true;
}

// The pad covers the photograph while it is the picture that is shown.
function showPad() {
  if (config.form) for (const part of $$("#pad, #clear")) part.hidden = current.id !== "draw";
}

async function render(result, image, stored) {
  if (stored) result.answers.teacher ??= stored.labels ? await restored(stored) : stored;
  caption(image);
  showPhotograph(image, result.image.part);
  showPad();
  (config.task === "classification" ? showClasses : showMasks)(result);
  for (const name of ["student", "teacher"]) showStatus(name, result.answers[name], result.done);
}

async function restored(stored) {
  return { ...stored, labels: new Uint16Array(await unpacked(stored.labels)) };
}

function markPressed(button) {
  for (const other of $$(".thumb")) other.setAttribute("aria-pressed", other === button);
  if (current) button?.scrollIntoView({ block: "nearest", inline: "nearest" }); // at first, Tab would start there
}

function caption(image) {
  const size = `, ${image.naturalWidth} × ${image.naturalHeight}`;
  const { name, truth } = image.dataset;
  $(".caption").textContent = name + (current.id === "draw" ? "" : size) + (truth === undefined ? "" : `, labelled ${truth}`);
}

// Shows the photograph in each frame; a mask covers the part of it that the networks get, all of it by default.
function showPhotograph(image, part) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const [left, top, right, bottom] = part ?? [0, 0, width, height];
  for (const photo of $$(".photo")) {
    const shown = $("img", photo), style = photo.style;
    shown.src = image.src;
    shown.alt = image.dataset.name;
    shown.hidden = false;
    shown.className = Math.max(width, height) < 100 ? "tiny" : "";
    style.setProperty("--ratio", width / height);
    style.setProperty("--wide", `${(100 * (right - left)) / width}%`);
    style.setProperty("--high", `${(100 * (bottom - top)) / height}%`);
    style.setProperty("--left", `${(100 * left) / width}%`);
    style.setProperty("--top", `${(100 * top) / height}%`);
  }
}

function showClasses({ image, answers }) {
  const seen = new ImageData(image.width, image.height);
  for (let from = 0, to = 0; from < image.pixels.length; from += 3, to += 4)
    seen.data.set([image.pixels[from], image.pixels[from + 1], image.pixels[from + 2], 255], to);
  $("#seen").getContext("2d").putImageData(seen, 0, 0);
  const best = {}, unsure = {};
  for (const [name, answer] of Object.entries(answers)) {
    const top = answer.top ?? [...answer.probabilities.entries()].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    for (const [rank, row] of $$(`.${name} .bars li`).entries()) {
      const [label, probability] = top[rank];
      $(".label", row).textContent = $(".label", row).title = config.classes[label];
      $(".value", row).textContent = percent(probability);
      $(".bar i", row).style.setProperty("--share", `${100 * probability}%`);
    }
    best[name] = config.classes[top[0][0]];
    unsure[name] = top[0][1] < UNSURE;
  }
  for (const name of ["student", "teacher"]) $(`.${name} .unsure`).hidden = !unsure[name];
  const { student, teacher } = best, says = (name) => `${name} ${unsure[name] ? "is unsure: perhaps" : "says"} ${best[name]}`;
  $("#verdict").textContent = (teacher === undefined ? `The ${says("student")}.`
    : unsure.student || unsure.teacher ? `The ${says("student")}; the ${says("teacher")}.`
    : student === teacher ? `Both say ${student}.` : `The student says ${student}, the teacher ${teacher}.`) + timing(answers);
}

function showMasks({ answers }) {
  const shares = {};
  for (const [name, { height, width, labels }] of Object.entries(answers)) {
    const canvas = $(`.${name} .mask`), drawn = new ImageData(width, height), counts = config.classes.map(() => 0);
    for (const [at, label] of labels.entries()) {
      counts[label] += 1;
      drawn.data.set(config.colours[label], 4 * at);
      drawn.data[4 * at + 3] = 255;
    }
    Object.assign(canvas, { height, width, hidden: false }).getContext("2d").putImageData(drawn, 0, 0);
    shares[name] = counts.map((count) => count / labels.length);
  }
  if (!answers.teacher) $(".teacher .mask").hidden = true;
  for (const [label, row] of $$(".legend tbody tr").entries()) {
    const both = [shares.student, shares.teacher].map((share) => share?.[label]);
    for (const [at, cell] of $$("td", row).entries()) cell.textContent = both[at] === undefined ? "–" : percent(both[at]);
    row.className = both.some((share) => share > 0) ? "" : "none";
  }
  const { student, teacher } = answers;
  const same = teacher && student.labels.reduce((sum, label, at) => sum + (label === teacher.labels[at]), 0);
  $("#verdict").textContent = (teacher ? `Both see the same in ${percent(same / student.labels.length)} of the pixels.`
    : "This is what the student sees.") + timing(answers);
}

// The times themselves stand on the cards.
function timing({ student, teacher }) {
  if (!teacher?.ms) return ` It took ${duration(student.ms)}.`;
  if (isCoarse) return " This browser's clock is too coarse to compare their times.";
  const isFaster = student.ms <= teacher.ms, [fast, slow] = isFaster ? [student, teacher] : [teacher, student];
  const more = slow.ms / fast.ms;
  if (more < 1.05 || fast.usual > slow.ms) return " Their times are too close to tell which is faster.";
  return ` The ${isFaster ? "teacher" : "student"} takes ${more.toFixed(more < 9.95 ? 1 : 0)} times as long.`;
}

function showStatus(name, answer, done) {
  const card = $(`.answer.${name}`), absent = $(".absent", card);
  $(".time", card).textContent = answer?.ms ? duration(answer.ms) : answer ? "stored answer" : "–";
  absent.hidden = Boolean(answer);
  absent.textContent = !done ? `The ${name} is still at work …`
    : failed[name] ? `The ${name} can't be loaded: ${failed[name]}.`
    : `The ${name} is too large for this page. Its answers are stored for the test pictures above, not for yours.`;
}

function colourSwatches() {
  for (const [label, swatch] of $$(".swatch").entries())
    swatch.style.setProperty("--colour", `rgb(${config.colours[label].join(" ")})`);
}

function percent(share) {
  return `${(100 * share).toFixed(2)} %`;
}

function duration(ms) {
  if (ms >= 999.5) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 9.995 ? 2 : ms < 99.95 ? 1 : 0)} ms`;
}

function clearError() {
  const line = $("#hint");
  line.textContent = line.dataset.hint;
  line.classList.remove("wrong");
}

function showError(why) {
  $("#hint").textContent = why;
  $("#hint").classList.add("wrong");
}
