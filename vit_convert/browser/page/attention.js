// Attention maps, and drawing them over the picture.

import { between, drawOver } from "./overlay.js";

// The colours of a map from low to high, evenly spaced, as red, green, blue and opacity: what is not
// looked at sinks into the dark, what is glows and shows the picture
const RAMP = [
  [10, 8, 38, 0.95],
  [60, 16, 92, 0.8],
  [176, 46, 88, 0.6],
  [248, 140, 40, 0.45],
  [255, 214, 120, 0.3],
];

/**
 * How much each patch is looked at, 0 the least and 1 the most in this picture.
 * @param {Float32Array} weights (1, heads, queries, tokens), with the patches as the last tokens
 * @param {{heads: number, query: ?number, grid: number[]}} block of model.json's "attention"; a query
 *   of null is the mean over the patches
 * @param {number} queries
 * @param {?number} head null for the mean over the heads
 * @returns {Float32Array} (rows, columns) of the grid
 */
export function attentionMap(weights, { heads, query, grid }, queries, head) {
  const patches = grid[0] * grid[1];
  const tokens = weights.length / heads / queries;
  const asking = query === null ? range(queries - patches, queries) : [query];
  const map = new Float32Array(patches);
  for (const h of head === null ? range(0, heads) : [head]) {
    for (const q of asking) {
      const start = (h * queries + q + 1) * tokens - patches;
      for (let i = 0; i < patches; i += 1) map[i] += weights[start + i];
    }
  }
  const low = map.reduce((a, b) => Math.min(a, b));
  const high = map.reduce((a, b) => Math.max(a, b));
  return map.map((value) => (high > low ? (value - low) / (high - low) : 0));
}

/**
 * Draw a map on a canvas that lies over the picture.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} map (rows, columns), 0..1
 * @param {{grid: number[], seen: number[]}} block of model.json's "attention": rows and columns, and
 *   how much of the picture's height and width they cover
 * @param {number} strength 0..1
 */
export function drawMap(canvas, map, { grid: [rows, columns], seen }, strength) {
  const small = new ImageData(columns, rows);
  map.forEach((value, i) => small.data.set(colour(value), i * 4));
  drawOver(canvas, small, seen, strength, true);
}

const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** Red, green, blue and opacity, 0..255. */
function colour(value) {
  const [red, green, blue, opacity] = between(RAMP, value);
  return [red, green, blue, 255 * opacity];
}
