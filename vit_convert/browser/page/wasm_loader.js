// What LiteRT.js asks of @litertjs/wasm-utils: load one of its WebAssembly builds. The import map of
// index.html puts this module in that package's place. The build is unpacked here: a third of it has
// to be sent. And what the runtime logs can be listened to: it says there, and nowhere else, how many
// operations an accelerator took.

const listeners = new Set();
let threads = []; // of the build that is loaded; LiteRT does not end them when it is unloaded

/** Call `listener(line)` with each line that LiteRT logs; gives a function that ends it. */
export function onLog(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Load a build and wrap it.
 * @param {new (module: object) => object} Wrapper LiteRT.js's own class around the build.
 * @param {string} url The build's script, which defines ModuleFactory; its .wasm.gz lies beside it.
 * @returns {Promise<object>} a Wrapper.
 */
export async function createWasmLib(Wrapper, url) {
  for (const thread of threads) thread.terminate();
  threads = [];
  const packed = url.replace(/\.js$/, ".wasm.gz");
  const [wasmBinary] = await Promise.all([unpacked(packed), runScript(url)]);
  const factory = globalThis.ModuleFactory;
  globalThis.ModuleFactory = undefined;
  if (typeof factory !== "function") throw new Error(`${url} defines no ModuleFactory`);
  const { Worker } = globalThis;
  globalThis.Worker = class extends Worker {
    constructor(...options) {
      super(...options);
      threads.push(this);
    }
  };
  try {
    return new Wrapper(await factory({ wasmBinary, print: log, printErr: log }));
  } finally {
    globalThis.Worker = Worker;
  }
}

/** A gzipped file, unpacked; some servers have browsers unpack it on the way. */
async function unpacked(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} is missing (the server says ${answer.status})`);
  const content = await answer.arrayBuffer();
  const [first, second] = new Uint8Array(content, 0, 2);
  if (first !== 0x1f || second !== 0x8b) return content;
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function log(line) {
  for (const listener of listeners) listener(String(line));
}

function runScript(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.addEventListener("load", () => resolve());
    script.addEventListener("error", () => reject(new Error(`${url} cannot be loaded`)));
    document.head.append(script);
  });
}
