// Drawing what belongs to the patches or pixels of a picture over it.

/**
 * Draw a picture of one pixel for each patch, or each value, on a canvas that lies over the picture.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageData} small rows and columns of them
 * @param {number[]} seen how much of the picture's height and width they cover
 * @param {number} strength 0..1
 * @param {boolean} smooth whether they run into each other; else each stays a square
 */
export function drawOver(canvas, small, [high, wide], strength, smooth) {
  const source = new OffscreenCanvas(small.width, small.height);
  source.getContext("2d").putImageData(small, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.globalAlpha = strength;
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, wide * canvas.width, high * canvas.height);
}

/**
 * A colour between evenly spaced ones.
 * @param {number[][]} colours from that of 0 to that of 1, of any number of channels
 * @param {number} place 0..1
 * @returns {number[]} the channels
 */
export function between(colours, place) {
  const scaled = place * (colours.length - 1);
  const below = Math.min(Math.floor(scaled), colours.length - 2);
  return colours[below].map((low, c) => low + (colours[below + 1][c] - low) * (scaled - below));
}
