// Many at once: the pictures of a group, or the pictures most similar to one picture.
import { alarm, byId, get, make, picture } from "./api.js";
import { makePicker } from "./picker.js";

const item = new URLSearchParams(location.search).get("item");
const picker = await makePicker(byId("picker"), (items) => picker.remove(items));

async function groups() {
  byId("back").hidden = true;
  byId("group").textContent = "";
  picker.show([]);
  const { clusters } = await get("/api/clusters");
  byId("groups").replaceChildren(...clusters.map((each) => {
    const button = make("button", { type: "button" }, picture(each.item, `A group of ${each.size} pictures`), make("span", { className: "quiet", "aria-hidden": "true" }, `${each.size} pictures`));
    button.addEventListener("click", () => open(each.number));
    return button;
  }));
  byId("groups").hidden = false;
}

async function open(number) {
  const found = await get("/api/cluster", { number });
  byId("groups").hidden = true;
  byId("back").hidden = false;
  byId("group").textContent = `${found.items.length} of ${found.size} pictures of this group`;
  picker.show(found.items.map((each) => ({ item: each })));
}

byId("back").addEventListener("click", () => { history.replaceState(null, "", "/grid"); groups(); });
try {
  if (item) {
    const found = await get("/api/near", { item });
    byId("groups").hidden = true;
    byId("back").hidden = false;
    byId("group").textContent = "The picture you chose, and the most similar ones";
    picker.show(found.items.map((each) => ({ item: each })));
  } else await groups();
} catch (error) { alarm(error.message); }
