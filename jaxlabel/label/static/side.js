// The numbers beside the picture: budget, training, accuracy.
import { byId, make, percent } from "./api.js";

const number = (value, digits = 1) => Number(value).toLocaleString("en", { maximumFractionDigits: digits });
export const duration = (seconds) => seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;

export function showStatus(status, asking) {
  const { money } = status;
  const amount = (value) => number(value, money.priced ? 6 : 1); // of labels, or of their prices
  const rows = [["Labels", number(status.labels)], [money.priced ? "Spent" : "Labels used", amount(money.spent)]];
  if (money.waiting) rows.push([status.trainer.name === "done" ? "Never used" : "Not used yet", number(money.waiting)]);
  if (money.budget !== null) rows.push(["Budget left", `${amount(money.left)} of ${amount(money.budget)}`]);
  if (status.not_sure) rows.push(["Not sure", number(status.not_sure)]);
  // Pictures that are not asked here, because somebody was not sure on the page of another run.
  if (status.not_sure_elsewhere) rows.push(["Not sure, other pages", number(status.not_sure_elsewhere)]);
  if (status.time.minutes) rows.push(["Minutes used", `${status.time.used.toFixed(1)} of ${number(status.time.minutes)}`]);
  if (status.seconds_per_label) rows.push(["Seconds per label", status.seconds_per_label.toFixed(1)]);
  rows.push(["Pictures", number(status.pictures)]);
  if (status.learns_from) rows.push(["Learns from", status.learns_from]);
  byId("numbers").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  showRun(status, asking);
  showAccuracy(status);
}

function showRun({ trainer, batch, ahead, money }, asking) {
  const open = batch.total - batch.done;
  const answers = `${open} more answer${open === 1 ? "" : "s"}`;
  const left = trainer.left ? `, about ${duration(trainer.left)} for this step` : "";
  const steps = trainer.steps ? ` (${percent(trainer.step / trainer.steps)}${left})` : "";
  const said = {
    idle: open > 0 ? `It starts after ${answers}.` : "It starts in a moment.",
    asking: `It waits for ${answers}.`,
    training: `It is ${trainer.phase}${steps}.`,
    done: "It is finished.",
    failed: `It stopped: ${trainer.phase}`,
  }[trainer.name];
  byId("run").textContent = said;
  byId("retry").hidden = trainer.name !== "failed";
  const more = trainer.name === "training" && open > 0 ? `Meanwhile it needs ${answers}.` : "";
  byId("run-more").textContent = ahead && trainer.name !== "done" ? `${more} ${ahead} extra labels: the next round uses them first.` : more;
  const broke = money.left !== null && money.left < (money.priced ? 1e-6 : 1); // a price may be below 1
  const title = { training: "The model is training", done: "The training is finished", failed: "The training stopped" }[trainer.name] || "No pictures to label right now";
  const text = {
    done: "Open Results to correct wrong labels, then Export to save all labels.",
    failed: trainer.phase,
    training: `It is ${trainer.phase}${steps}. ${broke ? "The budget is used up, so there are no more pictures to label." : "The next pictures appear here by themselves."}`,
  }[trainer.name] || "The next pictures appear here by themselves.";
  byId("pulse").hidden = trainer.name === "done" || trainer.name === "failed";
  if (!asking) {
    if (byId("waiting-title").textContent !== title) byId("waiting-title").textContent = title;
    byId("waiting-text").textContent = text;
  }
}

function showAccuracy({ accuracy, curve, confusion }) {
  const box = byId("accuracy");
  if (!accuracy) box.textContent = "Not known: no finished round has estimated it.";
  else {
    const [low, high] = accuracy.shown || [percent(accuracy.low), percent(accuracy.high)];
    const range = `right for ${low === high ? `about ${low}` : `${low} to ${high}`} of ${accuracy.of}`;
    box.textContent = {
      certified: `Certified: the model is ${range}.`,
      audited: `The model is ${range}, by the last audit. This is not certified.`,
      estimate: `The labels that the run gives are ${range}, estimated from ${accuracy.answers} answers. This is not certified.`,
      guess: `The model expects to be ${range}. Nobody has checked this; the true accuracy can be far lower.`,
    }[accuracy.kind];
  }
  byId("curve").replaceChildren(...(curve.length > 1 ? [drawCurve(curve)] : []));
  byId("confusion").textContent = confusion ? `The model confuses ${confusion.first} and ${confusion.second} most.` : "";
}

function drawCurve(points) {
  const shape = (tag, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const most = Math.max(...points.map(([x]) => x));
  const low = Math.max(0, Math.min(...points.map(([, y]) => y)) - 0.05);
  const at = ([x, y]) => [10 + (180 * x) / most, 70 - (60 * (y - low)) / (1 - low)];
  const last = points[points.length - 1];
  const svg = shape("svg", { viewBox: "0 0 210 90", class: "curve", role: "img", "aria-label": `Estimated accuracy over labels: ${points.map(([x, y]) => `${percent(y)} with ${x}`).join(", ")}` });
  svg.append(
    shape("polyline", { points: points.map((p) => at(p).join(",")).join(" "), fill: "none", stroke: "currentColor", "stroke-width": 2 }),
    ...points.map((p) => { const [cx, cy] = at(p); return shape("circle", { cx, cy, r: 3, fill: "currentColor" }); }),
    shape("text", { x: 10, y: 86 }, `${points[0][0]} labels`),
    shape("text", { x: 200, y: 86, "text-anchor": "end" }, `${most}: ${percent(last[1])}`),
  );
  return svg;
}
