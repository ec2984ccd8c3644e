// A map of the pictures: a click on a point shows the picture, and a button asks for similar ones.
import { alarm, byId, get, make, picture, post, say } from "./api.js";

const canvas = byId("map");
const ink = canvas.getContext("2d");
const { points, classes } = await get("/api/map");
const order = points.map((_, number) => number).sort((a, b) => points[a].x - points[b].x);
let chosen = -1;
const shapes = [
  (x, y, r) => ink.arc(x, y, r, 0, 7), (x, y, r) => ink.rect(x - r, y - r, 2 * r, 2 * r),
  (x, y, r) => { ink.moveTo(x, y - r); ink.lineTo(x + r, y + r); ink.lineTo(x - r, y + r); ink.closePath(); },
  (x, y, r) => { ink.moveTo(x, y - r); ink.lineTo(x + r, y); ink.lineTo(x, y + r); ink.lineTo(x - r, y); ink.closePath(); },
];
const colour = (number) => number < 0 ? getComputedStyle(canvas).color : `hsl(${(number * 137) % 360} 60% 52%)`;
const spot = ({ x, y }) => [16 + x * (canvas.clientWidth - 32), 16 + (1 - y) * (canvas.clientHeight - 32)];

function draw() {
  const scale = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  ink.scale(scale, scale);
  for (const point of points) {
    ink.globalAlpha = point.labelled ? 1 : point.class < 0 ? 0.3 : 0.6;
    ink.fillStyle = colour(point.class);
    ink.beginPath();
    shapes[Math.max(0, point.class) % 4](...spot(point), point.labelled ? 6 : 3);
    ink.fill();
  }
  ink.globalAlpha = 1;
  if (chosen >= 0) {
    ink.strokeStyle = getComputedStyle(canvas).color;
    ink.lineWidth = 2;
    ink.beginPath();
    ink.arc(...spot(points[chosen]), 10, 0, 7);
    ink.stroke();
  }
}

function choose(number) {
  chosen = number;
  draw();
  const point = points[number];
  const name = point.class < 0 ? "No class yet" : classes[point.class];
  const said = point.labelled ? `${name}, labelled by a person` : point.class < 0 ? name : `${name}, predicted by the model`;
  const more = make("button", { type: "button", className: "primary" }, "Ask me about 8 more like this");
  more.addEventListener("click", async () => {
    try {
      const { added } = await post("/api/more", { item: point.item });
      say(`${added} similar pictures are asked next.`);
      more.replaceWith(make("p", {}, `${added} similar pictures come after those that the training asks for.`));
    } catch (error) { alarm(error.message); }
  });
  const grid = make("a", { className: "button", href: `/grid?item=${point.item}` }, "Similar pictures");
  byId("card").replaceChildren(picture(point.item, said), make("p", {}, said), make("div", { className: "row" }, more, grid));
}

canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect();
  const away = points.map((point) => { const [x, y] = spot(point); return (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2; });
  if (points.length) choose(away.indexOf(Math.min(...away)));
});
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
  if (!step || !points.length) return;
  event.preventDefault();
  const at = chosen < 0 ? 0 : order.indexOf(chosen) + step;
  choose(order[Math.min(Math.max(at, 0), order.length - 1)]);
});
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
const marks = ["●", "■", "▲", "◆"];
byId("legend").replaceChildren(...classes.map((name, number) => {
  const mark = make("span", { "aria-hidden": "true" }, marks[number % 4]);
  mark.style.color = colour(number);
  return make("li", {}, mark, ` ${name}`);
}), make("li", {}, "large: labelled by a person"));
draw();
