// The server that `anymodal app` runs, by Gradio's queue: a request goes in, events come out one by one.

const LOST = "The server does not answer; see that it runs, and try again.";

const address = (path) => new URL(path, document.baseURI).href;

/**
 * A backend: `about` says what the model is and can; `generate(request, onEvent, signal)` ends with the last event or
 * throws an Error with one sentence; `search(request, onEvent, signal)` returns `{results}`.
 */
export async function connect() {
  const answer = await reached("about");
  if (!answer.ok) throw new Error(await sentence(answer));
  const about = await answer.json();
  const caller = (name) => (request, onEvent, signal) => call({ name, number: about.fn[name] }, request, onEvent, signal);
  return { about, generate: caller("generate"), search: caller("search") };
}

async function call({ name, number }, request, onEvent, signal) {
  const session_hash = crypto.getRandomValues(new Uint32Array(4)).join("");
  const entering = enter(name, { data: [request], session_hash });
  const asked = (event_id) => ({ event_id, session_hash, fn_index: number });
  try {
    return await listen(asked(await unless(signal, entering)), onEvent, signal);
  } catch (error) {
    if (signal?.aborted) entering.then((event_id) => post("gradio_api/cancel", asked(event_id))).catch(() => {});
    throw error;
  }
}

/** Go into the queue: the id of the request there. */
async function enter(name, body) {
  const answer = await post(`gradio_api/call/${name}`, body);
  if (!answer.ok) throw new Error(await sentence(answer));
  return (await answer.json()).event_id;
}

/** What a promise gives, unless a signal comes first. */
function unless(signal, promise) {
  return new Promise((resolve, reject) => {
    promise.then(resolve, reject);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}

function listen({ event_id, session_hash }, onEvent, signal) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(address(`gradio_api/queue/data?session_hash=${session_hash}`));
    const finish = (settle, value) => {
      source.close();
      signal?.removeEventListener("abort", leave);
      settle(value);
    };
    const leave = () => finish(reject, signal.reason);
    const told = {
      estimation: ({ rank, queue_size }) => onEvent({ event: "queue", position: (rank ?? 0) + 1, size: queue_size }),
      process_starts: () => onEvent({ event: "start" }),
      process_generating: ({ success, output }) => success && output.data && onEvent(output.data[0]),
      process_completed: ({ success, output }) =>
        success ? finish(resolve, output.data?.[0]) : finish(reject, new Error(output.error ?? "The model failed.")),
      unexpected_error: ({ message }) => finish(reject, new Error(message || "The server failed; try again.")),
      close_stream: () => finish(resolve),
    };
    source.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      try {
        if (!message.event_id || message.event_id === event_id) told[message.msg]?.(message);
      } catch (error) {
        finish(reject, error); // of an event, which says that the run failed
      }
    };
    source.onerror = () => finish(reject, new Error(LOST));
    signal?.addEventListener("abort", leave);
  });
}

function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return reached(path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function reached(path, how) {
  try {
    return await fetch(address(path), how);
  } catch {
    throw new Error(LOST);
  }
}

/** What the server says of a refusal, in one sentence. */
async function sentence(answer) {
  const known = { 413: "That is more than the server takes.", 503: "Many people are waiting; try again in a minute." };
  try {
    const { detail } = await answer.json();
    if (typeof detail === "string") return detail;
  } catch {
    // no JSON: the status has to do
  }
  return known[answer.status] ?? `The server answered ${answer.status}.`;
}
