// The arithmetic of vit_convert/images.py: pictures are resized, cropped and normalised as the
// checkpoint's authors did, to the last bit but where Pillow resizes in another order. Sizes are [height, width] in pixels.

// Pillow's filters (Keys 1981 with a = -0.5; the triangle), and how far they reach
const FILTERS = {
  bicubic: { reach: 2, weight: cubic },
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
};
// Pillow computes with weights that are rounded to multiples of 2 ** -22
const ONE = 2 ** 22;
const MAX_RESIZED_PIXELS = 2 ** 27;

function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((t - 5) * t + 8) * t * -0.5 + 2;
  return 0;
}

/** Python's round(): halves go to the even neighbour. */
function roundHalfToEven(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** What a picture is resized to before `target` is cut out of its centre. */
export function resizedSize([height, width], target, preprocessing) {
  const [h, w] = target.map((side) => Math.floor(side / preprocessing.crop_pct));
  if (preprocessing.crop_mode === "squash") return [h, w];
  if (h === w) {
    if (width <= height) return [Math.floor((h * height) / width), h];
    return [h, Math.floor((h * width) / height)];
  }
  const ratio = Math.min(height / h, width / w);
  return [roundHalfToEven(height / ratio), roundHalfToEven(width / ratio)];
}

/** Where the centre crop begins; negative where black is added. */
export function cropOffset(side, crop) {
  return side >= crop ? roundHalfToEven((side - crop) / 2) : -Math.floor((crop - side) / 2);
}

/**
 * The weights that make pixels `from` to `to` of a line of `size` pixels from one of `length`.
 * @returns {{start: number, weights: Float64Array}[]} the first pixel used, and integer weights
 *   that sum up to about ONE.
 */
function lineWeights(length, size, from, to, { reach, weight }) {
  const scale = length / size;
  const stretch = Math.max(scale, 1); // antialiasing: the filter grows as the picture shrinks
  const support = reach * stretch;
  const lines = [];
  for (let i = from; i < to; i += 1) {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(length, Math.trunc(centre + support + 0.5));
    const weights = new Float64Array(end - start);
    let sum = 0;
    for (let x = start; x < end; x += 1) {
      weights[x - start] = weight((x - centre + 0.5) * (1 / stretch));
      sum += weights[x - start];
    }
    for (let x = 0; x < weights.length; x += 1) {
      const share = sum === 0 ? weights[x] : weights[x] / sum;
      weights[x] = Math.trunc(share * ONE + (share < 0 ? -0.5 : 0.5));
    }
    lines.push({ start, weights });
  }
  return lines;
}

/** A sum of weighted pixels in 0..255; Uint8ClampedArray does not round as Pillow does. */
function toByte(sum) {
  const value = Math.floor((sum + ONE / 2) / ONE);
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/**
 * Part of a resized picture: rows top..bottom, columns left..right of the whole that `size` says.
 * First along the rows, then along the columns, rounding to bytes in between, as Pillow does (from
 * Pillow 13 on the other way round where the height shrinks far more than the width).
 * @param {Uint8Array|Uint8ClampedArray} pixels with `stride` bytes per pixel, RGB first.
 * @returns {Uint8Array} RGB.
 */
export function resizedPart(pixels, stride, [height, width], size, part, interpolation) {
  const filter = FILTERS[interpolation];
  if (!filter) throw new Error(`unknown interpolation ${interpolation}`);
  const { top, bottom, left, right } = part;
  const columns = right - left;
  const across = lineWeights(width, size[1], left, right, filter);
  const down = lineWeights(height, size[0], top, bottom, filter);
  const firstRow = size[0] === height ? top : down[0].start;
  const lastRow = size[0] === height ? bottom : down.at(-1).start + down.at(-1).weights.length;
  const narrow = new Uint8Array((lastRow - firstRow) * columns * 3);
  for (let row = firstRow; row < lastRow; row += 1) {
    let target = (row - firstRow) * columns * 3;
    for (let column = 0; column < columns; column += 1, target += 3) {
      if (size[1] === width) {
        const source = (row * width + left + column) * stride;
        for (let c = 0; c < 3; c += 1) narrow[target + c] = pixels[source + c];
        continue;
      }
      const { start, weights } = across[column];
      let source = (row * width + start) * stride;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let x = 0; x < weights.length; x += 1, source += stride) {
        red += pixels[source] * weights[x];
        green += pixels[source + 1] * weights[x];
        blue += pixels[source + 2] * weights[x];
      }
      narrow[target] = toByte(red);
      narrow[target + 1] = toByte(green);
      narrow[target + 2] = toByte(blue);
    }
  }
  if (size[0] === height) return narrow;
  const result = new Uint8Array((bottom - top) * columns * 3);
  const sums = new Float64Array(columns * 3);
  down.forEach(({ start, weights }, row) => {
    sums.fill(0);
    for (let y = 0; y < weights.length; y += 1) {
      const source = (start + y - firstRow) * columns * 3;
      for (let x = 0; x < sums.length; x += 1) sums[x] += narrow[source + x] * weights[y];
    }
    for (let x = 0; x < sums.length; x += 1) result[row * sums.length + x] = toByte(sums[x]);
  });
  return result;
}

/**
 * Which part of a picture the model sees.
 * @returns {{size: number[], offset: number[]}} what the picture is resized to, and where in it the
 *   model's input begins, as [top, left]; negative where black is added.
 */
export function placement(picture, target, preprocessing) {
  const size = resizedSize([picture.height, picture.width], target, preprocessing);
  return { size, offset: size.map((side, axis) => cropOffset(side, target[axis])) };
}

/**
 * Resize and crop.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} picture RGBA; alpha is not
 *   used.
 * @param {number[]} target what the model takes.
 * @param {{interpolation: string, crop_pct: number, crop_mode: string}} preprocessing
 * @returns {Uint8Array} RGB, (height, width, 3).
 */
export function toPixels(picture, target, preprocessing) {
  const { size, offset } = placement(picture, target, preprocessing);
  if (size[0] * size[1] > MAX_RESIZED_PIXELS) {
    throw new Error("the picture is too long and thin; crop it first");
  }
  const [top, left] = offset.map((start) => Math.max(0, start));
  const [bottom, right] = offset.map((start, axis) => Math.min(size[axis], start + target[axis]));
  const part = resizedPart(
    picture.data,
    4,
    [picture.height, picture.width],
    size,
    { top, bottom, left, right },
    preprocessing.interpolation,
  );
  if (bottom - top === target[0] && right - left === target[1]) return part;
  const padded = new Uint8Array(target[0] * target[1] * 3);
  const line = (right - left) * 3;
  for (let row = 0; row < bottom - top; row += 1) {
    const start = ((row + top - offset[0]) * target[1] + left - offset[1]) * 3;
    padded.set(part.subarray(row * line, (row + 1) * line), start);
  }
  return padded;
}

/**
 * Scale to 0..1, subtract the mean, divide by the standard deviation: in float32, as NumPy does.
 * @param {Uint8Array} pixels RGB.
 * @returns {Float32Array}
 */
export function normalise(pixels, { mean, std }) {
  const f = Math.fround;
  const table = mean.map((value, c) =>
    Float32Array.from({ length: 256 }, (_, p) => f(f(f(p / 255) - f(value)) / f(std[c]))),
  );
  return Float32Array.from(pixels, (pixel, i) => table[i % 3][pixel]);
}
