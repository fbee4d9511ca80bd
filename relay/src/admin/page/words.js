// Small words: numbers, ages, times, and elements that hold text. Nothing that comes from outside is ever read as markup.

const byId = (id) => document.getElementById(id);

// An element with properties, handlers ("onclick") and children, which are elements or text.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Writes only what has changed, so that nobody's selection is lost.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat("en");
const oneDigit = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (number) => whole.format(number);
const events = (number) => (number === 1 ? "1 event" : `${count(number)} events`);
const letters = (number) => (number === 1 ? "1 dead letter" : `${count(number)} dead letters`);

function rate(perSecond) {
  return `${perSecond >= 100 ? count(Math.round(perSecond)) : oneDigit.format(perSecond)}/s`;
}

function milliseconds(ms) {
  if (ms >= 60_000) return age(ms / 1000);
  if (ms >= 1000) return `${oneDigit.format(ms / 1000)} s`;
  return `${ms >= 10 ? Math.round(ms) : oneDigit.format(ms)} ms`;
}

// How long: 0.4 s, 12 s, 4 min, 3 h, 2 d.
function age(seconds) {
  if (seconds < 10) return `${oneDigit.format(Math.max(0, seconds))} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

// A time of day as this browser's owner reads it; with the date if that is another day.
function clock(time) {
  const at = new Date(time);
  const today = at.toDateString() === new Date().toDateString();
  const day = today ? "" : `${at.toLocaleDateString("en-CA")} `;
  return day + at.toLocaleTimeString("en-GB");
}

// JSON in lines. Numbers that this browser cannot hold stay as they were written, where it lets us.
function inLines(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function exact(_key, value, context) {
  const inexact = typeof value === "number" && context?.source !== undefined && String(value) !== context.source;
  return inexact && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

// A table whose rows are kept by their key: what has the focus keeps it while numbers change. A column has a `head` and either
// `text` (of a row), or `make` (once) with `update`.
function fill(table, columns, rows, keyOf) {
  if (!table.tHead) {
    const heads = columns.map((column) => make("th", { scope: "col", className: column.number ? "number" : "" }, column.head));
    table.createTHead().append(make("tr", {}, ...heads));
    table.append(make("tbody"));
  }
  const body = table.tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach((item, at) => {
    const key = keyOf(item);
    let row = known.get(key);
    known.delete(key);
    if (!row) {
      row = make("tr");
      row.dataset.key = key;
      for (const column of columns) {
        const cell = row.insertCell();
        cell.dataset.head = column.head;
        if (column.number) cell.className = "number";
        if (column.name) cell.className = "name";
        if (column.make) cell.append(column.make());
      }
    }
    columns.forEach((column, nth) => {
      if (column.make) column.update(row.cells[nth].firstChild, item);
      else write(row.cells[nth], column.text(item));
      row.cells[nth].classList.toggle("loud", Boolean(column.loud?.(item)));
    });
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
  });
  for (const gone of known.values()) gone.remove();
  table.hidden = rows.length === 0;
}
