// What patches have in common: the first three principal components of their tokens, as colours.

import { drawOver } from "./overlay.js";

const COLOURS = 3;
const ROUNDS = 60; // of orthogonal iteration, after which colours change no more that can be seen
const OUTSIDE = 0.01; // of the patches at either end that have the darkest or brightest colour
const STRENGTH = 0.85; // of the colours over the picture

/**
 * The colours of the patches of one picture, as vit_convert.inference.components gives them.
 * @param {Float32Array} tokens (patches, dim)
 * @param {number} patches
 * @returns {Float32Array[]} red, green and blue (patches), 0..1
 */
export function principalColours(tokens, patches) {
  const dim = tokens.length / patches;
  const points = centred(tokens, patches, dim);
  const axes = Array.from({ length: COLOURS }, (_, c) =>
    Float64Array.from({ length: dim }, (_, i) => Math.cos((c + 1) * (i + 1))),
  );
  for (let round = 0; round < ROUNDS; round += 1) {
    axes.forEach((axis, c) => {
      axes[c] = back(points, along(points, axis, patches, dim), patches, dim);
      for (const before of axes.slice(0, c)) subtract(axes[c], before);
      scale(axes[c]);
    });
  }
  return axes.map((axis) => {
    const largest = axis.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
    return stretched(along(points, axis.map((v) => v * Math.sign(largest)), patches, dim));
  });
}

function centred(tokens, patches, dim) {
  const mean = new Float64Array(dim);
  tokens.forEach((value, i) => (mean[i % dim] += value / patches));
  return Float64Array.from(tokens, (value, i) => value - mean[i % dim]);
}

/** How far each patch lies along an axis. */
function along(points, axis, patches, dim) {
  const found = new Float64Array(patches);
  for (let p = 0; p < patches; p += 1) {
    for (let i = 0; i < dim; i += 1) found[p] += points[p * dim + i] * axis[i];
  }
  return found;
}

/** The sum of all patches, each as often as its value says. */
function back(points, values, patches, dim) {
  const found = new Float64Array(dim);
  for (let p = 0; p < patches; p += 1) {
    for (let i = 0; i < dim; i += 1) found[i] += points[p * dim + i] * values[p];
  }
  return found;
}

function subtract(axis, other) {
  const shared = axis.reduce((sum, value, i) => sum + value * other[i], 0);
  other.forEach((value, i) => (axis[i] -= shared * value));
}

function scale(axis) {
  const length = Math.hypot(...axis);
  if (length > 0) axis.forEach((value, i) => (axis[i] = value / length));
}

function stretched(values) {
  const sorted = Float64Array.from(values).sort();
  const [low, high] = [OUTSIDE, 1 - OUTSIDE].map((share) => percentile(sorted, share));
  return Float32Array.from(values, (value) =>
    high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0.5,
  );
}

function percentile(sorted, share) {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

/**
 * Draw colours of patches on a canvas that lies over the picture.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array[]} colours as principalColours gives them
 * @param {{grid: number[], seen: number[]}} tokens of model.json: rows and columns, and how much of
 *   the picture's height and width they cover
 */
export function drawColours(canvas, colours, { grid: [rows, columns], seen }) {
  const small = new ImageData(columns, rows);
  for (let p = 0; p < rows * columns; p += 1) {
    small.data.set([...colours.map((shades) => Math.round(255 * shades[p])), 255], p * 4);
  }
  drawOver(canvas, small, seen, STRENGTH, false);
}
