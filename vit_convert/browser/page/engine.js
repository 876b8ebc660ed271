// The model: read, checked, compiled by LiteRT.js for WebGPU or WebAssembly, and run.

import {
  Tensor,
  getWebGpuDevice,
  loadAndCompile,
  loadLiteRt,
  supportsFeature,
  unloadLiteRt,
} from "./litert/dist/index.js";
import { onLog } from "./wasm_loader.js";

// What LiteRT logs where the GPU refuses operations; between the two lines stands one for each
const REFUSED = "Following operations are not supported by GPU delegate";
const SPLIT = /(\d+) operations will run on the GPU, and the remaining (\d+) operations/;
const IDENTIFIER = "TFL3";

/** What a person should know about a model that cannot be used. */
export class ModelError extends Error {}

/** Read model.json. */
export async function readDescription() {
  const answer = await request("model.json");
  try {
    return await answer.json();
  } catch (error) {
    throw new ModelError("model.json cannot be read: write the page again", { cause: error });
  }
}

/** Fetch a file of the page. */
export async function request(url) {
  let answer;
  try {
    answer = await fetch(url);
  } catch (error) {
    throw new ModelError(`${url} cannot be fetched: is the server still running?`, {
      cause: error,
    });
  }
  if (!answer.ok) throw new ModelError(`${url} is missing (the server says ${answer.status})`);
  return answer;
}

/**
 * Fetch the model file and see that it is the one that the page was written with.
 * @param {object} description model.json
 * @param {(share: number) => void} progress called with 0..1
 * @returns {Promise<Uint8Array>}
 */
export async function fetchModel(description, progress) {
  const { file, size } = description;
  const reader = (await request(file)).body.getReader();
  const bytes = new Uint8Array(size);
  let filled = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (filled + value.length > size) {
      throw new ModelError(`${file} is damaged: it is longer than the ${size} bytes it should have`);
    }
    bytes.set(value, filled);
    filled += value.length;
    progress(filled / size);
  }
  if (filled < size) {
    throw new ModelError(`${file} is cut short: ${filled} bytes of ${size}`);
  }
  if (new TextDecoder().decode(bytes.subarray(4, 8)) !== IDENTIFIER) {
    throw new ModelError(`${file} is no TFLite file`);
  }
  // crypto.subtle is there on https and on this machine only
  const digest = await globalThis.crypto?.subtle?.digest("SHA-256", bytes);
  if (digest && hexadecimal(digest) !== description.sha256) {
    throw new ModelError(`${file} is damaged: its content is not what was written`);
  }
  return bytes;
}

function hexadecimal(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether WebGPU can be had here. */
export async function hasWebGpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/** A compiled model. */
export class Engine {
  /**
   * Compile a model; an engine made before must have been deleted.
   * @param {object} description model.json
   * @param {Uint8Array} bytes the model file
   * @param {"webgpu"|"wasm"} accelerator
   * @returns {Promise<Engine>}
   */
  static async create(description, bytes, accelerator) {
    const lines = [];
    const stop = onLog((line) => lines.push(line));
    try {
      unloadLiteRt();
      if (accelerator === "webgpu" && !(await hasWebGpu())) {
        throw new ModelError("This browser offers no WebGPU.");
      }
      const [build, options] = await chooseBuild(accelerator);
      await loadLiteRt("./litert/wasm/", options);
      const compiled = await loadAndCompile(bytes, {
        accelerator,
        gpuOptions: { precision: "fp32" }, // else some GPUs compute with 16 bits
      });
      const engine = new Engine(description, compiled, build, lines);
      await engine.run(new engine.InputArray(engine.inputLength)); // shaders are built in the first
      return engine;
    } catch (error) {
      if (error instanceof ModelError) throw error;
      const reason = lines.filter((line) => /error/i.test(line)).at(-1) ?? error?.message ?? error;
      throw new ModelError(`LiteRT refuses the model on ${accelerator}: ${reason}`, {
        cause: error,
      });
    } finally {
      stop();
    }
  }

  constructor(description, compiled, build, lines) {
    const { input, output } = description;
    const [details] = compiled.getInputDetails();
    const shape = [1, input.height, input.width, 3];
    if (details.dtype !== input.dtype || shape.some((side, i) => side !== details.shape[i])) {
      throw new ModelError("the model is not the one that model.json describes");
    }
    if (!compiled.getOutputDetails().some(({ name }) => name === output.name)) {
      throw new ModelError(`the model has no output ${output.name}`);
    }
    this.description = description;
    this.compiled = compiled;
    this.build = build;
    this.shape = shape;
    this.inputLength = shape.reduce((a, b) => a * b);
    this.InputArray = input.dtype === "uint8" ? Uint8Array : Float32Array;
    /** Where it runs, which is not always where it was asked to. */
    this.accelerator = compiled.options.accelerator;
    this.onGpu = onGpu(compiled, description.operations, lines);
    this.refusals = refusals(lines);
    this.device = this.accelerator === "webgpu" ? describeAdapter(getWebGpuDevice()) : "";
  }

  /**
   * Run the model once.
   * @param {Float32Array|Uint8Array} values one image (height, width, 3), as the model takes it
   * @returns {Promise<{outputs: Object<string, Float32Array>, milliseconds: number}>}
   */
  async run(values) {
    if (!(values instanceof this.InputArray) || values.length !== this.inputLength) {
      throw new TypeError(`expected a ${this.InputArray.name} of ${this.inputLength} values`);
    }
    const begin = performance.now();
    const input = new Tensor(values, this.shape);
    const outputs = {};
    try {
      const tensors = await this.compiled.run({ [this.description.input.name]: input });
      for (const [name, tensor] of Object.entries(tensors)) {
        outputs[name] = await tensor.data();
        tensor.delete();
      }
    } finally {
      input.delete();
    }
    return { outputs, milliseconds: performance.now() - begin };
  }

  /** The shape of an output. */
  shapeOf(name) {
    return this.compiled.getOutputDetails().find((output) => output.name === name).shape;
  }

  delete() {
    this.compiled.delete();
  }
}

/** The build of LiteRT.js that suits, and what makes `loadLiteRt` choose it. */
async function chooseBuild(accelerator) {
  if (accelerator === "webgpu") {
    return (await supportsFeature("jspi")) ? ["JSPI", { jspi: true }] : ["plain", {}];
  }
  const threads =
    globalThis.crossOriginIsolated &&
    (await supportsFeature("relaxedSimd")) &&
    (await supportsFeature("threads"));
  return threads
    ? [`${navigator.hardwareConcurrency} threads`, { threads: true }]
    : ["1 thread", {}];
}

/**
 * How many operations run on the GPU: [those, all], or null where LiteRT does not tell. It counts them
 * only in its log, and only where some were refused.
 */
function onGpu(compiled, operations, lines) {
  if (compiled.options.accelerator !== "webgpu") return [0, operations];
  if (compiled.isFullyAccelerated) return [operations, operations];
  const found = lines.map((line) => SPLIT.exec(line)).findLast(Boolean);
  return found ? [Number(found[1]), Number(found[1]) + Number(found[2])] : null;
}

/** The operations that LiteRT says the GPU refuses, with its reasons. */
function refusals(lines) {
  const begin = lines.findIndex((line) => line.includes(REFUSED)) + 1;
  const end = lines.findIndex((line) => SPLIT.test(line));
  return begin > 0 && end > begin ? lines.slice(begin, end) : [];
}

function describeAdapter(device) {
  const { vendor = "", architecture = "", description = "" } = device?.adapterInfo ?? {};
  return description || [vendor, architecture].filter(Boolean).join(" ");
}
