// The dialog in which a person gives a class another name.
import { byId, make, post, say } from "./api.js";

const dialog = byId("rename");
const which = byId("rename-class");
const name = byId("rename-name");
const problem = byId("rename-problem");
let renamed = () => {}; // called with the new state of the page

// Opens the dialog for one of `classes`, an array of names. `done` is called with the new state.
export function openRename(classes, done) {
  if (byId("rename-open").disabled) return; // there is no class yet, or the run is finished
  renamed = done;
  which.replaceChildren(...classes.map((each) => make("option", { value: each }, each)));
  which.value = classes[classes.length - 1]; // the newest, because most mistakes are noticed at once
  name.value = which.value;
  problem.hidden = true;
  dialog.showModal();
  name.select();
}

which.addEventListener("change", () => { name.value = which.value; name.select(); });
byId("rename-cancel").addEventListener("click", () => dialog.close());
byId("rename-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const state = await post("/api/rename", { old: which.value, new: name.value });
    dialog.close();
    renamed(state);
    say(`The class ${which.value} is now called ${state.renamed}.`);
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    name.focus();
  }
});
