// Functions that all views use: requests, messages, pictures.

// The person's name is kept for this browser tab, so that links need not repeat it.
const given = new URLSearchParams(location.search).get("as");
if (given) sessionStorage.setItem("as", given);
export const person = sessionStorage.getItem("as") || "";

export const byId = (id) => document.getElementById(id);

function address(path, parameters = {}) {
  const query = new URLSearchParams(parameters);
  if (person) query.set("as", person);
  return `${path}?${query}`;
}

// Returns the server's response. If there is none, or it is an error, the thrown error says why.
async function request(path, options) {
  const response = await fetch(path, options).catch(() => { throw new Error("The program jaxlabel label does not answer. Start it again: every answer is kept."); });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({ error: `the server answered with the error ${response.status}` }));
  throw Object.assign(new Error(body.error), { status: response.status });
}

export async function get(path, parameters) {
  return (await request(address(path, parameters))).json();
}

export async function post(path, body, parameters) {
  const headers = { "content-type": "application/json" };
  return (await request(address(path, parameters), { method: "POST", headers, body: JSON.stringify(body) })).json();
}

export async function getFile(path) {
  return (await request(path)).blob();
}

// Sends a request again until the server answers, so that no label is lost.
export async function send(path, body, parameters) {
  for (let pause = 300; ; pause = Math.min(pause * 1.6, 4000)) {
    try {
      const found = await post(path, body, parameters);
      alarm("");
      return found;
    } catch (error) {
      if (error.status && error.status !== 503) throw error;
      alarm(error.status ? error.message : "The program jaxlabel label does not answer. Keep this tab open: your last answers are sent again until it does.");
      await new Promise((done) => setTimeout(done, pause));
    }
  }
}

export function alarm(text) {
  const box = byId("alert");
  box.hidden = !text;
  if (box.textContent !== text) box.textContent = text;
}

// An error that no view has handled, such as that of its first request.
addEventListener("unhandledrejection", (event) => alarm(event.reason?.message || "The page has an unknown error: load it again."));
addEventListener("error", (event) => alarm(event.message));

export function say(text) {
  byId("live").textContent = text;
}

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const place = (item) => `/picture/${item}`;

// Small pictures are enlarged without smoothing.
export function picture(item, alt) {
  const image = make("img", { src: place(item), alt, draggable: false, loading: "lazy" });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 128));
  return image;
}

// Return a name, with a small lock before it if the label can no longer be changed.
export function locked(name, isLocked) {
  return isLocked ? [make("span", { className: "lock", "aria-hidden": "true" }), name] : [name];
}

document.querySelector("nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

export const percent = (share) => `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)}%`;
export const KEYS = "1234567890";

// Return true if a key press is meant for the focused element, not for the view.
export function typing(event) {
  const focus = event.target;
  if (event.altKey || event.metaKey || focus.closest("input, textarea, select, dialog[open]")) return true;
  const native = focus.closest("button, a, summary") && focus.matches(":focus-visible");
  return native && (event.key === " " || event.key === "Enter");
}
