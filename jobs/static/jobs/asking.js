// Requests to our own pages, with their refusals as errors that say what to do.

const token = document.querySelector("meta[name=csrf-token]").content;

/** What the server refused: `errors` are [{field, message}], perhaps none. */
export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail || `The server answered ${status}.`);
    this.code = problem.code ?? "";
    this.status = status;
    this.errors = problem.errors ?? [];
  }
}

/** POST JSON, answer JSON. Raises Refused. */
export async function post(url, body, { headers = {}, signal } = {}) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      body: JSON.stringify(body),
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        "X-CSRFToken": token,
        ...headers,
      },
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ detail: "The server cannot be reached. Are you online?" }, 0);
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = JSON.parse(text);
  } catch {
    // A page, from something in between.
  }
  if (response.status === 401) location.assign(`/sign-in?next=${location.pathname}`);
  if (!response.ok) throw new Refused(answer, response.status);
  return answer;
}

/** Send a file and tell how far it is (0 to 1). Resolves to what names it in a request. */
export async function upload(blob, type, { mode, progress = () => {} }) {
  const announced = await post(`/playground/uploads?mode=${mode}`, {
    content_type: type,
    size_bytes: blob.size,
  });
  await put(announced.send.url, blob, type, progress);
  return announced.reference;
}

function put(url, blob, type, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.setRequestHeader("Content-Type", type);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      if (request.status < 300) return resolve();
      let problem = {};
      try {
        problem = JSON.parse(request.responseText);
      } catch {
        // The store's own words, which are XML.
      }
      reject(new Refused(problem, request.status));
    });
    request.addEventListener("error", () => {
      reject(new Refused({ detail: "The picture could not be sent." }, 0));
    });
    request.send(blob);
  });
}

/** A key under which a repeat is the same request. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((one) => one.toString(16).padStart(2, "0")).join("")}`;
}
