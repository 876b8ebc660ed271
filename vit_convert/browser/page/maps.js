// What a model says of every pixel: its depth, or its class. The colours come with model.json: they
// are those that `vit-convert predict` draws with.

import { between } from "./overlay.js";

/**
 * Depth in colours: light where it is near.
 * @param {Float32Array} depth (rows, columns)
 * @param {{grid: number[], colours: number[][], unit: string}} map of model.json: rows and columns;
 *   colours from far to near; a unit where the depth has one, and is larger where something is farther
 * @returns {{image: ImageData, least: number, most: number}}
 */
export function depthMap(depth, { grid: [rows, columns], colours, unit }) {
  const least = depth.reduce((a, b) => Math.min(a, b));
  const most = depth.reduce((a, b) => Math.max(a, b));
  const [far, near] = unit ? [most, least] : [least, most];
  const image = new ImageData(columns, rows);
  depth.forEach((value, i) => {
    const place = near === far ? 0 : (value - far) / (near - far);
    image.data.set([...between(colours, place), 255], i * 4);
  });
  return { image, least, most };
}

/**
 * The most probable class of every pixel, in its colour.
 * @param {Float32Array} scores (rows, columns, classes)
 * @param {{grid: number[], colours: number[][]}} map of model.json: rows and columns; a colour for
 *   each class
 * @returns {{image: ImageData, shares: Float64Array}} shares of the pixels that each class has
 */
export function classMap(scores, { grid: [rows, columns], colours }) {
  const image = new ImageData(columns, rows);
  const shares = new Float64Array(colours.length);
  for (let p = 0; p < rows * columns; p += 1) {
    let best = 0;
    const start = p * colours.length;
    for (let k = 1; k < colours.length; k += 1) {
      if (scores[start + k] > scores[start + best]) best = k;
    }
    shares[best] += 1 / (rows * columns);
    image.data.set([...colours[best], 255], p * 4);
  }
  return { image, shares };
}
