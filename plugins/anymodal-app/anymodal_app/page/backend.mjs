// The server that `anymodal app` runs, by Gradio's queue: a request goes in, events come out one by one.

const address = (path) => new URL(path, document.baseURI).href;

/**
 * A backend: `about` says what the model is and can; `generate(request, onEvent, signal)` ends with the last event or
 * throws an Error with one sentence; `search(request, onEvent, signal)` returns `{results}`.
 */
export async function connect() {
  const answer = await fetch(address("about"));
  if (!answer.ok) throw new Error(await sentence(answer));
  return {
    about: await answer.json(),
    generate: (request, onEvent, signal) => call("generate", request, onEvent, signal),
    search: (request, onEvent, signal) => call("search", request, onEvent, signal),
  };
}

async function call(name, request, onEvent, signal) {
  const session_hash = crypto.getRandomValues(new Uint32Array(4)).join("");
  const answer = await post(`gradio_api/call/${name}`, { data: [request], session_hash }, signal);
  if (!answer.ok) throw new Error(await sentence(answer));
  const { event_id } = await answer.json();
  return listen(event_id, session_hash, onEvent, signal);
}

function listen(event_id, session_hash, onEvent, signal) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(address(`gradio_api/queue/data?session_hash=${session_hash}`));
    const finish = (settle, value) => {
      source.close();
      signal?.removeEventListener("abort", leave);
      settle(value);
    };
    const leave = () => {
      post("gradio_api/cancel", { session_hash, fn_index: 0, event_id }).catch(() => {});
      finish(reject, signal.reason);
    };
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
    source.onerror = () => finish(reject, new Error("The connection to the server was lost; try again."));
    if (signal?.aborted) leave();
    signal?.addEventListener("abort", leave);
  });
}

function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return fetch(address(path), { method: "POST", headers, body: JSON.stringify(body), signal });
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
