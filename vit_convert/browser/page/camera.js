// A picture from the camera, where there is one and the person allows it.

/** Whether asking makes sense: browsers offer cameras on https and on this machine only. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Show what the camera sees until a picture is taken or the dialog is closed.
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<?Blob>} null if it was closed
 */
export async function takePicture(dialog) {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "environment" },
  });
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
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  }
}
