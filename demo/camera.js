"use strict";
// The camera. On touch screens the system's own takes the picture, by a file input; elsewhere the page shows its video.

let film; // the camera's stream, while it is open
let isOpening = false; // the user is asked, or the camera starts: a second stream would never be stopped

function listenToCamera() {
  const dialog = $("#lens"), input = $("#capture");
  $("#camera").onclick = () => (matchMedia("(pointer: coarse)").matches ? input.click() : openCamera());
  input.onchange = () => {
    const files = [...input.files];
    input.value = "";
    addFiles(files);
  };
  $("#take").onclick = takePicture;
  $("#leave").onclick = () => dialog.close();
  dialog.onclose = () => film?.getTracks().forEach((track) => track.stop());
}

async function openCamera() {
  if (isOpening) return;
  isOpening = true;
  clearError();
  try {
    if (!navigator.mediaDevices) throw new Error("this page has to be opened as a file, or served by https");
    film = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "environment" } });
  } catch (error) {
    showError(`The camera can't be used: ${REASONS[error.name] ?? error.message}.`);
    return;
  } finally {
    isOpening = false;
  }
  $("#lens video").srcObject = film;
  $("#lens").showModal();
}

const REASONS = {
  NotAllowedError: "it isn't allowed to this page", NotFoundError: "there is none",
  NotReadableError: "another program uses it",
};

async function takePicture() {
  const video = $("#lens video"), canvas = new OffscreenCanvas(video.videoWidth || 1, video.videoHeight || 1);
  if (!video.videoWidth) return; // it hasn't begun
  canvas.getContext("2d").drawImage(video, 0, 0);
  const content = await canvas.convertToBlob();
  $("#lens").close();
  addFiles([new File([content], "photograph.png", { type: content.type })]);
}
