// Keeps the start page true: every second and a half it asks how things stand, and says so. Without it the page is true once.
const PAUSE = 1500;

const make = (name, text, attributes = {}) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

const versionsOf = (url) => "/versions?url=" + encodeURIComponent(url);

const ask = async (path) => {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(path);
  return answer.json();
};

// Nothing is touched that is as it was, so that a reader's place and selection stay.
const fill = (id, key, children) => {
  const list = document.getElementById(id);
  if (list.dataset.key === key) return;
  const known = new Set([...list.children].map((child) => child.textContent));
  for (const child of children) if (list.dataset.key && !known.has(child.textContent)) child.classList.add("fresh");
  list.dataset.key = key;
  list.replaceChildren(...children);
};

const showStages = (stages) => {
  for (const item of document.querySelectorAll(".stages > li")) {
    const stage = stages[item.id.slice("stage-".length)] ?? {};
    const number = stage[item.dataset.number];
    const text = number === undefined || number === null ? "–" : String(number);
    const shown = item.querySelector(".number");
    if (shown.textContent !== text) {
      shown.textContent = text;
      shown.animate?.([{ opacity: 0.3 }, { opacity: 1 }], 600);
    }
    item.dataset.state = stage.state ?? "";
    const why = stage.state === "failed" && stage.last_failure;
    const trouble = why ? item.querySelector(".stage").textContent + ": " + why : "";
    const said = document.getElementById("trouble-" + item.id.slice("stage-".length));
    if (said.textContent !== trouble) said.textContent = trouble;
  }
};

const showArticles = (articles) => {
  const key = articles.map((article) => article.id + ":" + article.version).join(" ");
  fill("newest", key, articles.map((article) => {
    const item = make("li", undefined, { dir: "auto" });
    const title = make("h2");
    title.append(make("a", article.title, { href: "/articles/" + article.id }));
    const facts = make("p", undefined, { class: "facts" });
    const parts = [make("bdi", article.source_name), ...article.authors.map((author) => make("bdi", author.name)),
      make("a", "version " + article.version, { href: versionsOf(article.source_url) })];
    parts.forEach((part, nth) => {
      if (nth > 0) facts.append(make("span", "·", { class: "dot" }));
      facts.append(part);
    });
    item.append(title, facts);
    return item;
  }));
  document.getElementById("none").hidden = articles.length > 0;
};

const showHappened = (events) => {
  const key = events.map((event) => event.url + event.version).join(" ");
  fill("happened", key, events.map((event) => {
    const how = event.deleted ? "gone" : event.version > 1 ? "edited" : "new";
    const word = event.deleted ? "removed" : event.version > 1 ? "version " + event.version : "new";
    const item = make("li");
    item.append(make("span", word, { class: "what " + how }),
      make("a", event.title ?? event.url, { dir: "auto", href: versionsOf(event.url) }));
    return item;
  }));
};

const look = async () => {
  if (!document.hidden) {
    try {
      const [state, newest] = await Promise.all([ask("/stages"), ask("/articles?size=8")]);
      showStages(state.stages);
      showArticles(newest.articles);
      if (state.happened) showHappened(state.happened);
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    }
  }
  setTimeout(look, PAUSE);
};

setTimeout(look, PAUSE);
