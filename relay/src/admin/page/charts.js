// The last minutes, drawn: three small charts that say in words, too, what they show.

const WINDOW_SECONDS = 300;
const SAMPLES_MAX = 400;
// In units of the drawing, which is as wide as its place.
const CHART = { width: 320, height: 118, left: 36, right: 6, top: 8, bottom: 18 };

let samples = [];

const CHARTS = [
  { id: "chart-backlog", name: "Backlog", least: 10, tell: (n) => events(Math.round(n)), scale: (n) => short.format(n), series: [(s) => s.unsent] },
  { id: "chart-rate", name: "Sent", least: 10, tell: rate, scale: (n) => short.format(n), series: [(s) => s.sent_per_second] },
  {
    id: "chart-latency", name: "Latency, from commit to Redis", tell: milliseconds, scale: milliseconds, least: 1,
    series: [(s) => s.latency_p50_ms, (s) => s.latency_p99_ms], names: ["p50", "p99"],
  },
];

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

function remember(sample) {
  const last = samples.at(-1);
  if (!sample || last?.at > sample.at) return;
  // Of the same second, this one knows more.
  if (last?.at === sample.at) samples.pop();
  samples.push(sample);
  samples = samples.slice(-SAMPLES_MAX);
}

// The next round number: 1, 2 or 5, with zeros.
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= number * 0.9999);
}

function drawCharts() {
  const shown = samples.filter((sample) => Date.parse(sample.at) >= Date.parse(samples.at(-1).at) - WINDOW_SECONDS * 1000);
  for (const chart of CHARTS) draw(chart, shown);
}

function draw(chart, shown) {
  const { width, height, left, right, top, bottom } = CHART;
  const place = byId(chart.id);
  const values = chart.series.map((of) => shown.map(of));
  const highest = Math.max(0, ...values.flat().filter((value) => value !== null));
  const upTo = roundUp(Math.max(highest, chart.least));
  const newest = shown.length ? Date.parse(shown.at(-1).at) : 0;
  const x = (sample) => width - right - ((newest - Date.parse(sample.at)) / 1000 / WINDOW_SECONDS) * (width - left - right);
  const y = (value) => height - bottom - (value / upTo) * (height - top - bottom);
  const label = (text, attributes) => svg("text", { class: "axis", ...attributes }, text);
  const parts = [0, upTo / 2, upTo].flatMap((value) => [
    svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    label(chart.scale(value), { x: left - 5, y: y(value) + 3, "text-anchor": "end" }),
  ]);
  parts.push(label("5 min ago", { x: left, y: height - 4 }), label("now", { x: width - right, y: height - 4, "text-anchor": "end" }));
  values.forEach((of, nth) => {
    const path = line(of, shown, x, y);
    if (nth === 0 && values.length === 1 && path.area) parts.push(svg("path", { class: "area", d: path.area }));
    parts.push(svg("path", { class: `line line-${nth}`, d: path.line }));
  });

  const last = values.map((of) => of.at(-1) ?? null);
  // Of a moment in which nothing was sent there is no latency: then the last one is told.
  const known = values.map((of, nth) => last[nth] ?? (chart.names ? of.findLast((value) => value !== null) ?? null : null));
  const tell = (value) => (value === null ? "none yet" : chart.tell(value));
  const named = known.every((value) => value === null) ? "none yet" : known.map((value, nth) => `${chart.names?.[nth]} ${tell(value)}`).join(", ");
  const now = chart.names ? named : tell(known[0]);
  write(place.querySelector(".now"), now);
  const drawing = place.querySelector("svg");
  drawing.setAttribute("aria-label", `${chart.name} over the last 5 minutes: now ${now}; at most ${tell(highest)}.`);
  drawing.replaceChildren(...parts);
}

// A line with gaps where nothing is known, except that the backlog, which is not asked for each second, is drawn through.
function line(values, shown, x, y) {
  let path = "", from = null, before = null, to = null;
  values.forEach((value, at) => {
    if (value === null || value === undefined) return;
    const [px, py] = [x(shown[at]).toFixed(1), y(value).toFixed(1)];
    const near = before !== null && Date.parse(shown[at].at) - before < 15_000;
    path += near ? `L${px} ${py}` : `M${px} ${py}h0`;
    from ??= px;
    before = Date.parse(shown[at].at);
    to = px;
  });
  const gaps = path.lastIndexOf("M") > 0;
  const floor = CHART.height - CHART.bottom;
  return { line: path, area: path && !gaps ? `${path.replace("h0", "")}L${to} ${floor}L${from} ${floor}Z` : "" };
}
