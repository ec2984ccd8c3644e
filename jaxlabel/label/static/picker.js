// A grid of pictures; one key labels all chosen pictures with a class.
import { KEYS, alarm, get, locked as withLock, make, picture, post, say, typing } from "./api.js";

export async function makePicker(box, labelled) {
  const tiles = make("div", { className: "tiles", role: "group", "aria-label": "Pictures" });
  const price = make("p", { "aria-live": "polite" });
  const buttons = make("div", { className: "classes", role: "group", "aria-label": "Classes" });
  const tools = make("div", { className: "bar" }, ...[
    ["All", () => all(() => true)], ["None", () => all(() => false)], ["All others", () => all((tile) => !chosen(tile))],
  ].map(([text, does]) => { const b = make("button", { type: "button" }, text); b.addEventListener("click", does); return b; }));
  tools.append(price);
  const dock = make("div", { className: "dock" }, tools, buttons);
  box.replaceChildren(tiles, dock);
  dock.hidden = true;
  let status = (await get("/api/state")).status;
  let anchor = 0;
  let dragging = null;

  const chosen = (tile) => tile.getAttribute("aria-pressed") === "true";
  const set = (tile, on) => { if (!tile.disabled) tile.setAttribute("aria-pressed", String(on)); };
  const list = () => [...tiles.children];
  function all(wanted) { for (const tile of list()) set(tile, wanted(tile)); count(); }

  function count() {
    const items = list().filter(chosen);
    const { left, budget, spent, priced } = status.money;
    const done = status.trainer.name === "done";
    const most = left === null ? Infinity : done ? budget - spent : left;
    const tooMany = !priced && items.length > most; // only the server knows the prices of labels
    const rest = left === null ? "" : ` of the ${most} labels left`;
    const use = priced && left !== null ? `their price is taken from the ${Number(most.toFixed(6))} left of the budget` : `they use ${items.length}${rest}${tooMany ? ": too many" : ""}`;
    const cost = !done && !status.asks_ahead ? "they count against the budget only if the training asks for them" : use;
    price.textContent = items.length ? `${items.length} chosen: ${cost}.` : "Choose pictures, then a class.";
    for (const button of buttons.querySelectorAll("button")) button.setAttribute("aria-disabled", String(!items.length || tooMany));
  }

  function classes() {
    buttons.replaceChildren(...status.classes.map(({ name }, number) => {
      const button = make("button", { type: "button" }, make("span", { className: "name" }, name));
      if (number < 10) button.prepend(make("kbd", {}, KEYS[number]));
      button.addEventListener("click", () => label(name));
      return button;
    }));
    if (!status.classes.length) buttons.append(make("p", { className: "quiet" }, "Add the first class in the view Label."));
    count();
  }

  async function label(name) {
    const items = list().filter(chosen).map((tile) => tile.dataset.item);
    if (!items.length || buttons.querySelector("[aria-disabled=true]")) return;
    try {
      status = (await post("/api/answer", { items, class_name: name, sure: true, known: true })).status;
      alarm("");
      say(`${items.length} pictures are labelled ${name}.`);
      labelled(items, name);
      classes();
    } catch (error) { alarm(error.message); }
  }

  tiles.addEventListener("pointerdown", (event) => {
    const tile = event.target.closest("button");
    if (tile && event.pointerType === "mouse" && event.button === 0) dragging = { on: !chosen(tile), first: tile, moved: false };
  });
  tiles.addEventListener("pointerover", (event) => {
    const tile = event.target.closest("button");
    if (!dragging || !tile || tile === dragging.first && !dragging.moved) return;
    dragging.moved = true;
    set(dragging.first, dragging.on);
    set(tile, dragging.on);
    count();
  });
  addEventListener("pointerup", () => { setTimeout(() => { dragging = null; }); });
  tiles.addEventListener("click", (event) => {
    const tile = event.target.closest("button");
    if (!tile || (dragging && dragging.moved)) return;
    const number = list().indexOf(tile);
    const on = !chosen(tile);
    const [low, high] = event.shiftKey ? [Math.min(anchor, number), Math.max(anchor, number)] : [number, number];
    for (const each of list().slice(low, high + 1)) set(each, on);
    anchor = number;
    count();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || typing(event) || dock.hidden) return;
    const number = KEYS.indexOf(event.key);
    if (number >= 0 && number < status.classes.length) { event.preventDefault(); label(status.classes[number].name); }
  });

  function tile({ item, text = "", locked = false }, number) {
    const name = `Picture ${number + 1}${text ? `, ${text}` : ""}`;
    const button = make("button", { type: "button", disabled: locked, "aria-pressed": "false" }, picture(item, name));
    if (text) button.append(make("span", { className: "name", "aria-hidden": "true" }, ...withLock(text, locked)));
    button.dataset.item = item;
    return button;
  }
  return {
    show(items, add = false) {
      const start = add ? tiles.children.length : 0;
      const made = items.map((each, number) => tile(each, start + number));
      add ? tiles.append(...made) : tiles.replaceChildren(...made);
      dock.hidden = !tiles.children.length;
      classes();
    },
    remove(items) {
      for (const each of list()) if (items.includes(each.dataset.item)) each.remove();
      dock.hidden = !tiles.children.length;
      count();
    },
  };
}
