// Threads need a page that is isolated from other origins, which is for its server to say, in two
// headers. Where the server says nothing, as GitHub Pages does, a service worker adds the headers to
// what it passes on; the page has to be loaded once more for that.

const TRIED = "isolation"; // so that the page is not loaded again and again
const PATIENCE = 5000; // milliseconds for the worker to start

/** Isolate the page if that is possible; does not return where the page is about to load again. */
export async function isolate() {
  if (globalThis.crossOriginIsolated || !globalThis.isSecureContext) return;
  const workers = navigator.serviceWorker;
  if (!workers || workers.controller) return;
  try {
    if (sessionStorage.getItem(TRIED)) return;
    sessionStorage.setItem(TRIED, "yes");
    await workers.register("./isolation_worker.js");
    if (!workers.controller) await changed(workers);
  } catch (error) {
    console.info(`The page runs without threads: ${error.message}`);
    return;
  }
  location.reload();
  await new Promise(() => {});
}

function changed(workers) {
  return new Promise((resolve, reject) => {
    workers.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(() => reject(new Error("the service worker does not start")), PATIENCE);
  });
}
