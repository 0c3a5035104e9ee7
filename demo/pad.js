"use strict";
// The drawing pad, which covers the photograph: strokes by mouse, finger or pen. After each the networks answer.

const PAD = 280, PEN = 16; // pixels: the pad's side, a stroke's width
const strokes = []; // each [[x, y], …]
let pointer = null; // that draws

function listenToPad() {
  const pad = $("#pad");
  pad.onpointerdown = (event) => {
    if (event.button || pointer !== null) return; // a second finger draws nothing
    pointer = event.pointerId;
    pad.setPointerCapture(pointer);
    strokes.push([]);
    extend(event);
  };
  pad.onpointermove = (event) => event.pointerId === pointer && extend(event);
  pad.onpointerup = pad.onpointercancel = (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    number += 1; // an answer to less of the drawing is not shown
    keepDrawing();
  };
  $("#clear").onclick = () => {
    strokes.length = 0;
    pointer = null; // by keyboard, it is clicked in the middle of a stroke, too
    openPad();
  };
}

// Another picture is asked for in the middle of a stroke, by keyboard or by dropping it: the stroke is dropped, since its
// end won't be seen while the pad is hidden.
function dropStroke() {
  if (pointer === null) return;
  pointer = null;
  strokes.pop();
  paint();
}

function extend(event) {
  const { left, top, width } = $("#pad").getBoundingClientRect(), scale = PAD / width;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const { clientX, clientY } of events.length ? events : [event])
    strokes.at(-1).push([(clientX - left) * scale, (clientY - top) * scale]);
  paint();
}

// In the page's colours: dark on light, or light on dark.
function paint() {
  const context = $("#pad").getContext("2d"), style = getComputedStyle(root);
  context.fillStyle = style.getPropertyValue("--card");
  context.fillRect(0, 0, PAD, PAD);
  context.strokeStyle = style.getPropertyValue("--ink");
  Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) {
    context.beginPath();
    for (const [x, y] of [stroke[0], ...stroke]) context.lineTo(x, y); // the first twice: a dot is a stroke, too
    context.stroke();
  }
}

// The drawing becomes the picture of its button in the strip, and is shown, unless another picture is asked for meanwhile.
async function keepDrawing() {
  const button = $("#draw"), image = $("img", button), mine = number;
  reading += 1;
  setBusy();
  button.picture = await new Promise((resolve) => $("#pad").toBlob(resolve));
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(button.picture);
  await image.decode().catch(() => {}); // another stroke may have replaced it
  reading -= 1;
  button.classList.toggle("drawn", strokes.length > 0);
  if (mine === number) show(button); // clearing it asks for another, too
  else setBusy();
}

function openPad() {
  paint();
  const button = $("#draw");
  if (strokes.length) {
    show(button);
  } else {
    button.classList.remove("drawn");
    showNothing(button, `Draw one of ${config.classes.length} characters, with mouse, finger or pen.`);
  }
}
