// Picture files to pixels, as Pillow decodes them: upright, with the colours that the file has (no
// colour management), and transparency dropped rather than laid over something.

/** What a person should know about a picture that cannot be used. */
export class PictureError extends Error {}

/**
 * Decode a picture.
 * @param {Blob} blob
 * @returns {Promise<{data: Uint8ClampedArray, width: number, height: number}>} RGBA, opaque.
 * @throws {PictureError}
 */
export async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch (error) {
    throw new PictureError("is not a picture that this browser can read, or is damaged", {
      cause: error,
    });
  }
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height);
  } catch (error) {
    throw new PictureError(`cannot be used: ${error.message}`, { cause: error });
  } finally {
    bitmap.close();
  }
}

/**
 * The pixels of something that can be drawn.
 * @param {ImageBitmap|HTMLVideoElement} source
 * @param {number} width
 * @param {number} height
 * @returns {{data: Uint8ClampedArray, width: number, height: number}} RGBA, opaque.
 * @throws {Error} there is no memory for it.
 */
export function pixelsOf(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("it is too large for this browser");
  context.drawImage(source, 0, 0);
  const drawn = context.getImageData(0, 0, width, height).data;
  // A 2D canvas forgets the colours under transparent pixels; WebGL hands them through.
  const data = isOpaque(drawn) ? drawn : (straightPixels(source, width, height) ?? drawn);
  for (let i = 3; i < data.length; i += 4) data[i] = 255;
  return { data, width, height };
}

function isOpaque(data) {
  for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return false;
  return true;
}

/** RGBA that was never multiplied with alpha, or null where there is no WebGL for it. */
function straightPixels(source, width, height) {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const { FRAMEBUFFER, COLOR_ATTACHMENT0, TEXTURE_2D } = gl;
  const texture = gl.getParameter(gl.TEXTURE_BINDING_2D);
  gl.framebufferTexture2D(FRAMEBUFFER, COLOR_ATTACHMENT0, TEXTURE_2D, texture, 0);
  if (gl.checkFramebufferStatus(FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) return null;
  const data = new Uint8ClampedArray(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(data.buffer));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return data;
}
