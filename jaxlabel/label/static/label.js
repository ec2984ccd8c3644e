// The labelling view: one picture, one key, the next picture.
import { KEYS, alarm, byId, get, locked as withLock, make, person, picture, place, post, say, send, typing } from "./api.js";
import { openRename } from "./rename.js";
import { showStatus } from "./side.js";

let queue = []; // questions; the one on the screen comes first
let status = null;
let shown = null; // the question on the screen
let since = performance.now();
let sending = Promise.resolve();
const pending = new Map(); // answers that the server has not stored yet, by item
const later = new Set(); // items that the person has put off
const fetched = new Map(); // images loaded in advance, by item

const image = byId("picture");
const original = byId("original"); // a small picture at its own size, which the eye reads more easily
image.addEventListener("load", () => {
  image.classList.toggle("tiny", image.naturalWidth < 128);
  original.hidden = image.hidden || Math.max(image.naturalWidth, image.naturalHeight) > 64;
  if (!original.hidden) original.src = image.src;
});

function prefetch() {
  for (const { item } of queue.slice(0, 5)) {
    if (fetched.has(item)) continue;
    const copy = new Image();
    copy.src = place(item);
    fetched.set(item, copy);
    if (fetched.size > 40) fetched.delete(fetched.keys().next().value);
  }
}

function show() {
  const next = queue[0] || null;
  prefetch();
  if (shown && next && shown.item === next.item) return;
  shown = next;
  since = performance.now();
  byId("hints").hidden = true;
  for (const button of document.querySelectorAll(".suggested")) button.classList.remove("suggested");
  byId("frame").classList.remove("zoomed");
  image.hidden = !next;
  if (!next) original.hidden = true;
  byId("waiting").hidden = Boolean(next);
  const audit = Boolean(next) && next.purpose === "certify";
  for (const id of ["hint", "alike"]) byId(id).disabled = !next || audit;
  byId("unsure").disabled = !next;
  if (next) {
    image.src = place(next.item);
    image.alt = "Picture to be labelled";
    image.dataset.item = next.item;
  } else delete image.dataset.item;
  const purpose = byId("purpose");
  purpose.hidden = !next || (next.purpose !== "certify" && next.source !== "ahead");
  purpose.textContent = audit ? "For the accuracy certificate: no hints" : "Extra picture, used in the next round";
}

function take(state, again) {
  status = state.status;
  let found = state.questions.filter((q) => !pending.has(q.item));
  if (again) found = [again, ...found.filter((q) => q.item !== again.item)];
  const current = found.find((q) => shown && q.item === shown.item);
  if (current && !again) found = [current, ...found.filter((q) => q !== current)];
  queue = [...found.filter((q) => !later.has(q.item)), ...found.filter((q) => later.has(q.item))];
  show();
  draw();
}

function draw() {
  if (!status) return;
  showClasses();
  showStatus(status, Boolean(shown));
  const { done, total } = status.batch;
  const n = Math.min(done + pending.size + 1, total);
  const ahead = shown && shown.source === "ahead";
  byId("place").textContent = !shown ? "" : ahead ? "While the training runs" : `Picture ${n} of ${total}`;
  byId("progress").max = Math.max(total, 1);
  byId("progress").value = Math.min(done + pending.size, total);
  byId("rename-open").disabled = !status.classes.length || status.trainer.name === "done";
  byId("undo").disabled = !status.undo && !pending.size;
  const last = [...pending.values()].reverse().concat(status.last).slice(0, 10);
  byId("last").replaceChildren(...last.map(lastAnswer));
  byId("last-title").hidden = !last.length;
}

function lastAnswer({ item, class_name, locked }) {
  const name = class_name || "not sure";
  const label = locked ? `${name}: already used, cannot be changed` : `${name}: take this answer back`;
  const button = make("button", { type: "button", title: label, "aria-label": label, "aria-disabled": String(Boolean(locked)) }, picture(item, ""), make("span", {}, ...withLock(name, locked)));
  button.addEventListener("click", () => (locked ? alarm(`${name}: this label is already used, so it cannot be changed here. Correct it in the exported table.`) : undo(item)));
  return make("li", {}, button);
}

let drawn = "";
function showClasses() {
  const filter = byId("filter-box").hidden ? "" : byId("filter").value.trim().toLowerCase();
  const marks = JSON.stringify([status.classes.map(({ name }) => name), filter]);
  byId("no-classes").hidden = status.classes.length > 0;
  if (marks === drawn) {
    // The buttons stay: a new button under a finger would not get the tap.
    const counts = new Map(status.classes.map(({ name, count }) => [name, count]));
    for (const button of byId("classes").children) {
      const [shownCount, count] = [button.querySelector(".count"), counts.get(button.dataset.name)];
      shownCount.textContent = String(count);
      shownCount.title = `${count} labels`;
    }
    return;
  }
  drawn = marks;
  const buttons = status.classes.map(({ name, count }, number) => {
    const key = number < 10 ? KEYS[number] : "";
    const button = make("button", { type: "button" }, make("span", { className: "name" }, name), make("span", { className: "count", title: `${count} labels` }, String(count)));
    if (key) button.prepend(make("kbd", {}, key));
    button.dataset.name = name;
    button.addEventListener("click", () => { if (!button.matches(":focus-visible")) button.blur(); answer(name); });
    return { button, wanted: name.toLowerCase().startsWith(filter) };
  });
  byId("classes").replaceChildren(...buttons.filter((b) => b.wanted).map((b) => b.button));
}

function answer(name) {
  if (!shown) return;
  const question = shown;
  const seconds = (performance.now() - since) / 1000;
  const helped = !byId("hints").hidden;
  pending.set(question.item, { item: question.item, class_name: name });
  queue = queue.filter((q) => q.item !== question.item);
  show();
  draw();
  const body = { items: [question.item], class_name: name, seconds, sure: true, known: Boolean(name), help: helped };
  sending = sending.then(async () => {
    try {
      const skip = [...pending.keys()].filter((item) => item !== question.item).join(",");
      const state = await send("/api/answer", body, { skip });
      pending.delete(question.item);
      later.delete(question.item);
      say(`${name || "not sure"}. ${state.status.batch.done} of ${state.status.batch.total} answered.`);
      take(state);
    } catch (error) {
      pending.delete(question.item);
      alarm(error.message);
      await refresh();
    }
  });
}

function undo(item = "") {
  byId("undo").blur();
  sending = sending.then(async () => {
    try {
      const state = await send("/api/undo", { item });
      alarm("");
      shown = null;
      take(state, state.again);
      say(state.again ? "The answer was taken back." : "There is nothing to take back.");
    } catch (error) {
      alarm(error.message);
    }
  });
}

function putOff() {
  if (queue.length < 2) return;
  later.add(queue[0].item);
  queue.push(queue.shift());
  show();
  draw();
}

async function hint() {
  if (!shown || shown.purpose === "certify") return;
  const [item, box] = [shown.item, byId("hints")];
  if (!box.hidden) { box.hidden = true; return; }
  try {
    const found = await get("/api/help", { item });
    if (!shown || shown.item !== item) return;
    const { suggestion } = found;
    const words = [suggestion ? `The model suggests ${suggestion.class_name} (${Math.round(100 * suggestion.probability)}%).` : "There is no model yet that could suggest a class."];
    if (found.copies > 1) words.push(`Your answer labels ${found.copies} identical pictures.`);
    if (found.near_copies > 0) words.push(`${found.near_copies} more look nearly the same.`);
    if (found.near.length) words.push("The most similar labelled pictures:");
    const near = found.near.map((each) => make("figure", {}, picture(each.item, ""), make("figcaption", {}, each.class_name)));
    box.replaceChildren(make("p", {}, words.join(" ")), ...near);
    box.hidden = false;
    say(words[0]);
    for (const button of document.querySelectorAll("#classes button")) {
      button.classList.toggle("suggested", button.dataset.name === suggestion?.class_name);
    }
  } catch (error) { alarm(error.message); }
}

const alike = () => { if (shown && shown.purpose !== "certify") location.href = `/grid?item=${shown.item}`; };

const rename = () => sending.then(() => status && openRename(status.classes.map(({ name }) => name), take));

function openNew() {
  byId("new-form").hidden = false;
  byId("similar").hidden = true;
  byId("new-name").value = "";
  byId("new-name").focus();
}

function closeNew() {
  byId("new-form").hidden = true;
  document.activeElement.blur();
}

async function addClass(sure) {
  const name = byId("new-name").value.trim();
  if (!name || !shown) return;
  const question = shown;
  const seconds = (performance.now() - since) / 1000;
  try {
    await sending;
    const found = await post("/api/answer", { items: [question.item], class_name: name, seconds, sure });
    if (found.similar) return offer(name, found.similar);
    alarm("");
    closeNew();
    take(found);
    say(`The class ${name} was added.`);
  } catch (error) { alarm(error.message); }
}

function offer(name, similar) {
  const existing = make("button", { type: "button", className: "primary" }, `Use ${similar}`);
  existing.addEventListener("click", () => { closeNew(); answer(similar); });
  const other = make("button", { type: "button" }, `No, ${name} is another class`);
  other.addEventListener("click", () => addClass(true));
  byId("similar").replaceChildren(make("p", {}, `There is a class called ${similar} already.`), make("div", { className: "row" }, existing, other));
  byId("similar").hidden = false;
  existing.focus();
}

function openFilter(text) {
  byId("filter-box").hidden = false;
  byId("filter").value = text;
  byId("filter").focus();
  showClasses();
}

function closeFilter() {
  byId("filter-box").hidden = true;
  byId("filter").value = "";
  byId("filter").blur();
  showClasses();
}

let failed = ""; // the message of a refresh that failed; the next successful one takes it away
// The timer says which picture is shown: what the person does renews reservations, the timer does not.
async function refresh(timer = {}) {
  try {
    take(await get("/api/state", { skip: [...pending.keys()].join(","), ...timer }));
    if (failed && byId("alert").textContent === failed) alarm("");
  } catch (error) {
    if (!pending.size) alarm(failed = error.message);
  }
}

document.addEventListener("keydown", (event) => {
  const key = event.key;
  if (event.ctrlKey && key.toLowerCase() === "z") { if (!event.target.closest("input")) { event.preventDefault(); undo(); } return; }
  if (event.ctrlKey || typing(event)) return;
  const number = KEYS.indexOf(key);
  const does = {
    n: openNew, " ": () => answer(""), Backspace: () => undo(), h: () => byId("help").showModal(), "?": () => byId("help").showModal(),
    s: hint, g: alike, r: rename, z: () => byId("frame").classList.toggle("zoomed"), "/": () => openFilter(""), ArrowRight: putOff,
  }[key];
  if (number >= 0 && status && number < status.classes.length && !event.repeat) { event.preventDefault(); answer(status.classes[number].name); }
  else if (does && !event.repeat) { event.preventDefault(); does(); }
});
byId("filter").addEventListener("input", showClasses);
byId("filter").addEventListener("keydown", (event) => {
  const first = document.querySelector("#classes button");
  if (event.key === "Escape") closeFilter();
  if (event.key === "Enter" && first) { const { name } = first.dataset; closeFilter(); answer(name); }
});
byId("new-form").addEventListener("submit", (event) => { event.preventDefault(); addClass(false); });
byId("new-form").addEventListener("keydown", (event) => { if (event.key === "Escape") closeNew(); });
const press = { new: openNew, unsure: () => answer(""), undo: () => undo(), hint, alike, "rename-open": rename, keys: () => byId("help").showModal(), retry: () => post("/api/retry", {}).then(() => refresh()) };
for (const [id, does] of Object.entries(press)) {
  byId(id).addEventListener("click", (event) => { if (!event.currentTarget.matches(":focus-visible")) event.currentTarget.blur(); does(); });
}

let start = null;
byId("frame").addEventListener("touchstart", (event) => { start = event.touches[0]; }, { passive: true });
byId("frame").addEventListener("touchend", (event) => {
  const across = event.changedTouches[0].clientX - start.clientX;
  const down = event.changedTouches[0].clientY - start.clientY;
  if (Math.abs(across) > 60 && Math.abs(across) > 2 * Math.abs(down)) across < 0 ? putOff() : undo();
});
image.addEventListener("dblclick", () => byId("frame").classList.toggle("zoomed"));
addEventListener("beforeunload", (event) => { if (pending.size) event.preventDefault(); });

await refresh();
if (person) say(`Your answers are stored under the name ${person}.`);
(async function poll() {
  for (;;) {
    await new Promise((done) => setTimeout(done, shown ? 3000 : 1000));
    if (!pending.size && !document.hidden) await refresh({ shown: shown ? shown.item : "" });
  }
})();
