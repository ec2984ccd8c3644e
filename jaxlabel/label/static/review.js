// All pictures by predicted class; those with the lowest probability come first.
import { alarm, byId, get, make, percent } from "./api.js";
import { makePicker } from "./picker.js";

let current = "";
let start = 0;
const picker = await makePicker(byId("picker"), () => load(current));

async function load(name, more = false) {
  try {
    start = more ? start + 60 : 0;
    const found = await get("/api/review", { class: name, start });
    byId("empty").hidden = found.classes.length > 0;
    current = found.class_name || "";
    byId("tabs").replaceChildren(...found.classes.map((each) => {
      const tab = make("button", { type: "button", "aria-pressed": String(each.name === current) }, `${each.name} ${each.count}`);
      tab.addEventListener("click", () => load(each.name));
      return tab;
    }));
    if (!more) byId("tabs").querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    picker.show(found.items.map(({ item, probability, label, locked }) => ({ item, locked, text: label || percent(probability) })), more);
    byId("more").hidden = start + found.items.length >= found.total;
  } catch (error) { alarm(error.message); }
}

byId("more").addEventListener("click", () => load(current, true));
await load("");
