// The number of answers per person, their agreement, and the pictures with different answers.
import { alarm, byId, get, locked as withLock, make, picture, post } from "./api.js";

async function load() {
  const found = await get("/api/people");
  const { classes } = (await get("/api/state")).status;
  const table = make("table", {}, make("tbody", {}, ...found.people.map((each) => make("tr", {}, make("th", { scope: "row" }, each.name), make("td", {}, `${each.answers} answers`)))));
  const kappa = found.kappa === null ? "No picture has answers from two people yet." : `Agreement on the ${found.shared} pictures that several people labelled: ${found.kappa.toFixed(2)} (${found.which}; 1 is full agreement, 0 is what guessing gives).`;
  byId("people").replaceChildren(found.people.length ? table : make("p", {}, "Nobody has answered yet."), make("p", {}, kappa));
  const decide = (item, name) => async () => {
    try { await post("/api/answer", { items: [item], class_name: name, sure: true, known: true }); await load(); } catch (error) { alarm(error.message); }
  };
  const choices = (item, names) => names.map((name) => { const b = make("button", { type: "button" }, name); b.addEventListener("click", decide(item, name)); return b; });
  byId("differ").replaceChildren(...found.disagreements.map(({ item, votes, locked }) => {
    const said = Object.entries(votes).map(([who, name]) => `${who}: ${name}`).join(", ");
    return make("li", {}, picture(item, "Picture with different answers"), make("span", {}, ...withLock(said, locked)), ...(locked ? [] : choices(item, classes.map((c) => c.name))));
  }));
  if (!found.disagreements.length) byId("differ").append(make("li", { className: "quiet" }, "None."));
  byId("unsure").replaceChildren(...found.not_sure.map(({ item, person }) => make("figure", {}, picture(item, `Picture that ${person} is not sure about`), make("figcaption", {}, person))));
  if (!found.not_sure.length) byId("unsure").append(make("p", { className: "quiet" }, "None."));
}

try { await load(); } catch (error) { alarm(error.message); }
