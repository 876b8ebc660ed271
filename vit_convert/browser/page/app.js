// The page: what is shown and what the controls do. Names of classes come from strangers' files, so
// text only ever gets in as text.

import { attentionMap, drawMap } from "./attention.js";
import { hasCamera, takePicture, watch } from "./camera.js";
import { drawColours, principalColours } from "./components.js";
import { Engine, ModelError, fetchModel, hasWebGpu, readDescription, request } from "./engine.js";
import { isolate } from "./isolation.js";
import { classMap, depthMap } from "./maps.js";
import { drawOver } from "./overlay.js";
import { PictureError, decode } from "./picture.js";
import { normalise, placement, toPixels } from "./preprocessing.js";

const TOP = 5;
const VIEW = 640; // pixels of the longer side of what is shown
const MEASURED_RUNS = 20;
const TITLES = { webgpu: "WebGPU", wasm: "WebAssembly" };

const element = (id) => document.getElementById(id);
const radios = () => [...document.querySelectorAll("input[name=accelerator]")];

let description;
let bytes; // of the model file
let engine;
let shown; // what was made of the last picture: {picture, input, outputs, and what is said of them}
let work = Promise.resolve(); // one thing at a time
let live = false; // whether what the camera sees goes through the model, picture by picture

/** Do something after all that was begun before, and say what went wrong. */
function inTurn(action) {
  const turn = work.then(action);
  work = turn.catch(fail);
  return turn;
}

function say(text, kind = "") {
  element("message").textContent = text;
  element("status").className = kind;
  element("status").hidden = !text;
}

function fail(error) {
  element("progress").hidden = true;
  if (!(error instanceof ModelError || error instanceof PictureError)) console.error(error);
  say(error.message, "problem");
}

async function start() {
  say("Loading the model …", "busy");
  await isolate();
  description = await readDescription();
  introduce();
  const bar = element("progress");
  bar.hidden = false;
  bytes = await fetchModel(description, (share) => {
    bar.value = share;
  });
  bar.removeAttribute("value"); // how long compiling takes is not known
  const wanted = new URLSearchParams(location.search).get("accelerator");
  await compile(wanted in TITLES ? wanted : (await hasWebGpu()) ? "webgpu" : "wasm");
}

function introduce() {
  const { name, architecture, precision, input, size, runtime } = description;
  document.title = `${name} · vit-convert`;
  element("name").textContent = name;
  element("about").textContent = [
    architecture,
    `${input.height} × ${input.width} pixels`,
    whatItGives(),
    precision,
    `${(size / 1e6).toFixed(1)} MB`,
  ].join(" · ");
  element("made-with").textContent =
    `Made by vit-convert. ${runtime} (Apache-2.0) runs the model in this browser; ` +
    "no picture leaves this device.";
  for (const { title, output } of description.attention) {
    element("block").append(new Option(title, output));
  }
  if (description.tokens) {
    element("answer-title").textContent = "What patches have in common";
    element("overlay").ariaLabel = "Principal components of the tokens of the patches, as colours";
  }
  if (description.map) {
    const kind = description.output.kind === "depth" ? "Depth" : "Classes";
    element("answer-title").textContent = `${kind} of the pixels`;
    element("overlay").ariaLabel = `${kind} of the pixels, as colours`;
    element("overlay-kind").textContent = kind;
    for (const field of document.querySelectorAll(".of-attention")) field.hidden = true;
  }
  offerSamples();
}

/** For people. */
function whatItGives() {
  const { labels, output, tokens } = description;
  if (tokens) return "tokens of patches";
  if (output.kind === "depth") return "depth";
  return `${labels.length} classes${output.kind === "segments" ? " of pixels" : ""}`;
}

/** Pictures to try, as buttons. */
function offerSamples() {
  const buttons = description.samples.map(({ file, title }) => {
    const button = document.createElement("button");
    const image = document.createElement("img");
    button.type = "button";
    button.disabled = true;
    button.title = title;
    image.src = file;
    image.alt = title;
    button.append(image);
    button.addEventListener("click", () => {
      inTurn(async () => {
        const blob = await (await request(file)).blob();
        await show(new File([blob], title));
      }).catch(() => {});
    });
    return button;
  });
  element("samples").replaceChildren(...buttons);
  element("samples").hidden = buttons.length === 0;
}

/** Compile for an accelerator; if that fails, for WebAssembly. */
async function compile(accelerator) {
  say(`Compiling for ${TITLES[accelerator]} …`, "busy");
  element("progress").hidden = false;
  engine?.delete();
  engine = undefined;
  let notice = "";
  try {
    engine = await Engine.create(description, bytes, accelerator);
  } catch (error) {
    if (accelerator === "wasm") throw error;
    notice = error.message;
    engine = await Engine.create(description, bytes, "wasm");
  } finally {
    element("progress").hidden = true;
    showEngine();
  }
  if (engine.refusals.length > 0) notice ||= `The GPU refuses ${engine.refusals.join("; ")}.`;
  if (engine.accelerator !== accelerator) notice += ` It runs on ${TITLES[engine.accelerator]}.`;
  say(notice, "notice");
}

function showEngine() {
  const { accelerator, onGpu, device, build } = engine ?? {};
  for (const id of ["accelerators", "file", "camera", "live", "measure"]) {
    element(id).disabled = !engine;
  }
  for (const button of element("samples").children) button.disabled = !engine;
  for (const id of ["camera", "live"]) element(id).hidden = !hasCamera();
  for (const radio of radios()) radio.checked = radio.value === accelerator;
  const where = device || build;
  element("ran-on").textContent = engine ? TITLES[accelerator] + (where && ` (${where})`) : "–";
  element("operations").textContent = onGpu?.join(" of ") ?? (engine ? "not told" : "–");
  element("latency").textContent = "–";
}

/** Decode a picture, run the model and show what it says. */
async function show(blob) {
  live = false;
  await showPicture(blob.name ? `“${blob.name}”` : "The picture", () => decode(blob));
}

/** The same of what the camera sees, over and over, until `live` is false. */
async function showLive() {
  const button = element("live");
  live = true;
  button.textContent = "Stop";
  button.ariaPressed = true;
  try {
    for await (const picture of watch()) {
      await inTurn(async () => {
        if (live) await showPicture("What the camera sees", () => picture);
      });
      if (!live) break;
    }
  } catch (error) {
    fail(error);
  } finally {
    live = false;
    button.textContent = "Live";
    button.ariaPressed = false;
    button.disabled = !engine;
  }
}

/** Run the model on the picture that something gives, and show what it says. */
async function showPicture(name, give) {
  if (!engine) throw new ModelError("There is no model to run.");
  const begin = performance.now();
  let picture;
  let input;
  try {
    picture = await give();
    input = prepare(picture);
  } catch (error) {
    throw new PictureError(`${name} ${error.message}`, { cause: error });
  }
  const preparing = performance.now() - begin;
  shown = { picture, input };
  drawPicture(picture);
  element("preparing").textContent = milliseconds(preparing);
  await answer();
  say("");
}

/** Run the model on the picture that is shown. */
async function answer() {
  const { outputs, milliseconds: took } = await engine.run(shown.input);
  shown.outputs = outputs;
  element("latency").textContent = milliseconds(took);
  if (description.tokens) {
    showTokens(outputs);
    return;
  }
  if (description.map) {
    showMap(outputs);
    return;
  }
  shown.classes = best(outputs);
  showClasses(shown.classes);
  fillHeads();
  showOverlay();
}

function prepare(picture) {
  const { input, preprocessing } = description;
  const pixels = toPixels(picture, [input.height, input.width], preprocessing);
  if (input.range === "normalised") return normalise(pixels, preprocessing);
  return input.dtype === "uint8" ? pixels : Float32Array.from(pixels);
}

/** Colour the patches over the picture. */
function showTokens(outputs) {
  const { tokens, output } = description;
  shown.colours = principalColours(outputs[output.name], tokens.grid[0] * tokens.grid[1]);
  drawColours(element("overlay"), shown.colours, tokens);
  element("overlay").hidden = false;
  element("waiting").textContent =
    "Red, green and blue are the first three principal components of this picture's patches.";
}

/** Say what there is in the picture, or how deep it is, and draw it. */
function showMap(outputs) {
  const { map, output, labels } = description;
  const values = outputs[output.name];
  shown.map = output.kind === "depth" ? depthMap(values, map) : classMap(values, map);
  if (output.kind === "depth") {
    const [least, most] = [shown.map.least, shown.map.most].map((v) => v.toPrecision(3));
    element("waiting").textContent = map.unit
      ? `Light is near, dark is far: from ${least} to ${most} ${map.unit}.`
      : "Light is near, dark is far; the model gives no unit.";
  } else {
    shown.classes = ranked([...shown.map.shares], labels).filter((c) => c.probability > 0);
    showClasses(shown.classes, map.colours);
  }
  element("over").hidden = false;
  showOverlay();
}

/** The most probable classes: [{label, probability}], best first. */
function best(outputs) {
  const { output, labels } = description;
  const scores = [...outputs[output.name]];
  const shares = output.kind === "probabilities" ? scores : softmax(scores);
  return ranked(shares, labels);
}

/** Those with the largest shares: [{label, probability, index}]. */
function ranked(shares, labels) {
  return shares
    .map((probability, index) => ({ label: labels[index], probability, index }))
    .sort((a, b) => b.probability - a.probability || a.index - b.index)
    .slice(0, TOP);
}

function softmax(logits) {
  const highest = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

function showClasses(classes, colours = []) {
  element("waiting").hidden = true;
  element("classes").replaceChildren(
    ...classes.map(({ label, probability, index }) => {
      const item = document.createElement("li");
      const [name, share, bar] = ["span", "output", "div"].map((tag) => document.createElement(tag));
      name.className = "label";
      name.textContent = label;
      share.textContent = `${(100 * probability).toFixed(1)} %`;
      bar.className = "bar";
      bar.style.setProperty("--share", probability);
      if (colours[index]) bar.style.setProperty("--of-class", `rgb(${colours[index].join(" ")})`);
      item.append(name, share, bar);
      return item;
    }),
  );
}

/** Show the part of the picture that the model sees. */
function drawPicture(picture) {
  const { input, preprocessing } = description;
  const target = [input.height, input.width];
  const { size, offset } = placement(picture, target, preprocessing);
  const zoom = VIEW / Math.max(...target);
  const whole = new OffscreenCanvas(picture.width, picture.height);
  const image = new ImageData(picture.data, picture.width, picture.height);
  whole.getContext("2d").putImageData(image, 0, 0);
  for (const canvas of [element("seen"), element("overlay")]) {
    [canvas.height, canvas.width] = target.map((side) => Math.round(side * zoom));
  }
  const context = element("seen").getContext("2d");
  context.imageSmoothingQuality = "high";
  const [y, x, height, width] = [...offset.map((o) => -o), ...size].map((side) => side * zoom);
  context.drawImage(whole, x, y, width, height);
  element("invitation").hidden = true;
  element("view").hidden = false;
}

function chosenBlock() {
  return description.attention.find(({ output }) => output === element("block").value);
}

/** The choice of heads, for the block that is chosen. */
function fillHeads() {
  const block = chosenBlock();
  element("over").hidden = !block;
  if (!block) return;
  const chosen = element("head").value;
  const options = [new Option("mean of all", "")];
  for (let i = 0; i < block.heads; i += 1) options.push(new Option(i, i));
  element("head").replaceChildren(...options);
  element("head").value = options.some(({ value }) => value === chosen) ? chosen : "";
}

/** Draw what is chosen over the picture. */
function showOverlay() {
  const block = chosenBlock();
  const overlay = element("overlay");
  const some = description.map ? shown?.map : block && shown?.outputs;
  overlay.hidden = !some || !element("over-on").checked;
  if (overlay.hidden) return;
  const strength = Number(element("strength").value);
  if (description.map) {
    const { seen } = description.map;
    drawOver(overlay, shown.map.image, seen, strength, description.output.kind === "depth");
    return;
  }
  const head = element("head").value;
  const weights = shown.outputs[block.output];
  const queries = engine.shapeOf(block.output)[2];
  const map = attentionMap(weights, block, queries, head === "" ? null : Number(head));
  drawMap(overlay, map, block, strength);
}

/** The median of several runs. */
async function measure() {
  const input = shown?.input ?? new engine.InputArray(engine.inputLength);
  const times = [];
  for (let i = 0; i < MEASURED_RUNS; i += 1) times.push((await engine.run(input)).milliseconds);
  times.sort((a, b) => a - b);
  const median = (times[MEASURED_RUNS / 2 - 1] + times[MEASURED_RUNS / 2]) / 2;
  element("latency").textContent = `${milliseconds(median)} (median of ${MEASURED_RUNS})`;
}

const milliseconds = (time) => `${time.toFixed(time < 100 ? 1 : 0)} ms`;

/** The first picture of a drop or a paste. */
function pictureOf(transfer) {
  return [...(transfer?.files ?? [])].find(Boolean);
}

function listen() {
  const stage = element("stage");
  const file = element("file");
  file.addEventListener("change", () => {
    const [picture] = file.files;
    if (picture) inTurn(() => show(picture)).catch(() => {});
    file.value = ""; // so that choosing the same file again is a change
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) stage.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("over");
    const picture = pictureOf(event.dataTransfer);
    if (picture) inTurn(() => show(picture)).catch(() => {});
  });
  document.addEventListener("paste", (event) => {
    const picture = pictureOf(event.clipboardData);
    if (picture) inTurn(() => show(picture)).catch(() => {});
  });
  element("camera").addEventListener("click", () => {
    inTurn(async () => {
      const picture = await takePicture(element("camera-dialog"));
      if (picture) await show(picture);
    }).catch(() => {});
  });
  element("live").addEventListener("click", () => {
    if (live) {
      live = false;
      element("live").disabled = true; // until it has stopped
    } else showLive();
  });
  for (const radio of radios()) {
    radio.addEventListener("change", () => inTurn(() => switchTo(radio.value)).catch(() => {}));
  }
  element("measure").addEventListener("click", () => inTurn(measure).catch(() => {}));
  element("block").addEventListener("change", () => {
    fillHeads();
    showOverlay();
  });
  for (const id of ["over-on", "head", "strength"]) {
    element(id).addEventListener("input", showOverlay);
  }
}

async function switchTo(accelerator) {
  const address = new URL(location.href);
  address.searchParams.set("accelerator", accelerator);
  history.replaceState(null, "", address);
  await compile(accelerator);
  if (shown) await answer();
}

listen();

/**
 * For tests and the curious:
 *   await vitConvert.ready                     once the model can be run
 *   await vitConvert.run(values)               a Float32Array (height x width x 3, normalised), or
 *                                              what the model takes -> {output name: Float32Array}
 *   await vitConvert.show(blob)                as if the picture had been chosen
 *   vitConvert.description, vitConvert.engine  model.json; where the model runs
 *   await vitConvert.settled()                 once all that was begun is done
 *   vitConvert.live                            whether the camera's pictures go through the model
 *   vitConvert.shown                           what was made of the last picture: input, outputs,
 *                                              classes (label and probability, best first), or
 *                                              colours of patches, or the map of the pixels
 */
globalThis.vitConvert = {
  ready: inTurn(start),
  run: (values) => inTurn(async () => (await engine.run(values)).outputs),
  show: (blob) => inTurn(() => show(blob)),
  settled: () => work,
  get live() {
    return live;
  },
  get shown() {
    return shown;
  },
  get description() {
    return description;
  },
  get engine() {
    return engine;
  },
};
