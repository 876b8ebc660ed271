// Pictures from the camera, where there is one and the person allows it.

import { PictureError, pixelsOf } from "./picture.js";

/** Whether asking makes sense: browsers offer cameras on https and on this machine only. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Show what the camera sees until a picture is taken or the dialog is closed.
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<?Blob>} null if it was closed
 * @throws {PictureError} there is no camera, or the person does not allow it.
 */
export async function takePicture(dialog) {
  const stream = await openCamera();
  const video = dialog.querySelector("video");
  try {
    video.srcObject = stream;
    dialog.returnValue = "";
    dialog.showModal();
    dialog.querySelector("#shoot").onclick = () => dialog.close("shoot");
    dialog.querySelector("#close-camera").onclick = () => dialog.close();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "shoot") return null;
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    return await canvas.convertToBlob({ type: "image/png" });
  } finally {
    close(stream, video);
  }
}

/**
 * What the camera sees, picture by picture, for as long as the caller asks for more. In a page that
 * is not visible none comes.
 * @yields {{data: Uint8ClampedArray, width: number, height: number}} RGBA, opaque.
 * @throws {PictureError} there is no camera, or the person does not allow it.
 */
export async function* watch() {
  const stream = await openCamera();
  const video = document.createElement("video");
  try {
    Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    while (stream.active) {
      yield pixelsOf(video, video.videoWidth, video.videoHeight);
      await new Promise(requestAnimationFrame);
    }
  } finally {
    close(stream, video);
  }
}

async function openCamera() {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const reason = `There is no picture from the camera: ${error.message}`;
    throw new PictureError(reason, { cause: error });
  }
}

function close(stream, video) {
  stream.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}
