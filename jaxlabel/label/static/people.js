// Who answered, how far they agree, and what is to be decided.
import { alarm, byId, get, locked as withLock, make, picture, post } from "./api.js";

async function load() {
  const found = await get("/api/people");
  const { classes } = (await get("/api/state")).status;
  const table = make("table", {}, make("tbody", {}, ...found.people.map((each) => make("tr", {}, make("th", { scope: "row" }, each.name), make("td", {}, `${each.answers} answers`)))));
  const kappa = found.kappa === null ? "Nobody has answered a picture that somebody else answered too." : `${found.which} is ${found.kappa.toFixed(2)} over ${found.shared} shared pictures: 1 is full agreement, 0 is chance.`;
  byId("people").replaceChildren(found.people.length ? table : make("p", {}, "Nobody has answered yet."), make("p", {}, kappa));
  const decide = (item, name) => async () => {
    try { await post("/api/answer", { items: [item], class_name: name, sure: true }); await load(); } catch (error) { alarm(error.message); }
  };
  const choices = (item, names) => names.map((name) => { const b = make("button", { type: "button" }, name); b.addEventListener("click", decide(item, name)); return b; });
  byId("differ").replaceChildren(...found.disagreements.map(({ item, votes, locked }) => {
    const said = Object.entries(votes).map(([who, name]) => `${who}: ${name}`).join(", ");
    return make("li", {}, picture(item, "Picture that people differ about"), make("span", {}, ...withLock(said, locked)), ...(locked ? [] : choices(item, classes.map((c) => c.name))));
  }));
  if (!found.disagreements.length) byId("differ").append(make("li", { className: "quiet" }, "None."));
  byId("unsure").replaceChildren(...found.not_sure.map(({ item, person }) => make("figure", {}, picture(item, `Picture that ${person} is not sure about`), make("figcaption", {}, person))));
  if (!found.not_sure.length) byId("unsure").append(make("p", { className: "quiet" }, "None."));
}

try { await load(); } catch (error) { alarm(error.message); }
