// The page: what the relay tells each second, written to its place, and the keys.

// Silence for so long is shown: the figures are old.
const FRESH_MS = 3_500;

// And so often the list of dead letters is read though no figure has changed.
const REREAD_MS = 15_000;

const seen = { status: null, verdict: null, here: null, at: 0, why: "" };
let announced = "";

// --- what it shows

function show() {
  const { status, here } = seen;
  showVerdict();
  if (here) showHere(here);
  if (status) {
    showFigures(status);
    showTables(status);
  }
}

function showHere(here) {
  const badge = byId("environment");
  badge.hidden = !here.environment;
  write(badge, here.environment ?? "");
  badge.classList.toggle("production", /^prod/i.test(here.environment ?? ""));
  write(byId("about"), `relay ${here.version}, ${here.phase}, up since ${clock(here.started_at)}, ${count(here.sent)} sent since then`);
}

function showVerdict() {
  const silent = seen.at > 0 ? age((Date.now() - seen.at) / 1000) : "";
  const silence = isFresh() ? null
    : seen.at === 0 ? { sentence: seen.why || "Asking the relay …", reason: null }
    : { sentence: `Nothing was heard from the relay for ${silent}: it, or the way to it, is down.`, reason: seen.why };
  const found = findings(seen.verdict, silence);
  const [first, ...others] = found;
  const level = LEVELS[first.level];
  const place = byId("verdict");
  place.dataset.level = first.level;
  write(byId("sign"), level.sign);
  write(byId("word"), level.word);
  // It need not be said twice.
  byId("word").hidden = first.sentence.startsWith(level.word);
  write(byId("sentence"), first.sentence);
  write(byId("reason"), first.reason ?? "");
  // Rebuilt only if it says something else: a link in it may have the focus.
  const also = byId("also");
  const told = JSON.stringify(others.map((one) => [one.level, one.sentence, one.reason]));
  if (also.dataset.told !== told) {
    also.dataset.told = told;
    also.replaceChildren(...others.map((one) => {
      const text = one.about ? make("a", { href: `#${one.about}` }, one.sentence) : one.sentence;
      const item = make("li", {}, make("span", { className: "sign", ariaHidden: "true" }, LEVELS[one.level].sign), make("span", {}, text, one.reason ? make("small", {}, one.reason) : null));
      item.dataset.level = one.level;
      return item;
    }));
  }
  // For those who listen: once for each thing that happens, not each second.
  if (announced !== first.kind) {
    announced = first.kind;
    write(byId("announce"), `${level.word}. ${first.sentence}`);
    document.title = `${level.sign} ${level.word} · relay`;
    byId("icon").href = icon(first.level);
  }
}

function icon(level) {
  const colour = { stuck: "#c62828", behind: "#b26a00", look: "#b26a00", paused: "#5b57c7", well: "#2e7d4f", unknown: "#777777" }[level];
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`)}`;
}

function showFigures(status) {
  const speed = status.streams.reduce((sum, stream) => sum + stream.sent_per_second, 0);
  const oldest = Math.max(0, ...status.streams.map((stream) => stream.oldest_unsent_seconds ?? 0));
  write(byId("figure-backlog"), count(status.unsent));
  write(byId("figure-oldest"), status.unsent > 0 ? age(oldest) : "–");
  write(byId("figure-rate"), rate(speed));
  write(byId("figure-lag"), count(status.lag));
  write(byId("figure-dead"), count(status.dead));
}

const orDash = (seconds) => (seconds === null ? "–" : age(seconds));

const LANES = [
  { head: "stream", name: true, text: (s) => s.stream },
  { head: "unsent", number: true, text: (s) => count(s.unsent) },
  { head: "oldest", number: true, text: (s) => orDash(s.oldest_unsent_seconds), loud: (s) => s.paused_at === null && s.oldest_unsent_seconds > seen.verdict.limits.behind_seconds },
  { head: "sent", number: true, text: (s) => rate(s.sent_per_second) },
  { head: "held", number: true, text: (s) => count(s.held) },
  { head: "dead", number: true, text: (s) => count(s.dead), loud: (s) => s.dead > 0 },
  { head: "last sent", number: true, text: (s) => (s.sent_at === null ? "never" : clock(s.sent_at)) },
  { head: "", make: () => make("button", { type: "button", className: "pause", onclick: (event) => pauseOrResume(event.currentTarget) }), update: updatePause },
];

const GROUPS = [
  { head: "group", name: true, text: (g) => g.name },
  { head: "stream", name: true, text: (g) => g.stream },
  { head: "lag", number: true, text: (g) => count(g.lag) },
  { head: "oldest", number: true, text: (g) => orDash(g.oldest_seconds), loud: (g) => g.oldest_seconds > seen.verdict.limits.group_seconds },
  { head: "pending", number: true, text: (g) => count(g.pending) },
  { head: "dead", number: true, text: (g) => count(g.dead), loud: (g) => g.dead > 0 },
  { head: "consumers", number: true, text: (g) => count(g.consumers), loud: (g) => g.consumers === 0 && g.lag > 0 },
];

const CONSUMERS = [
  { head: "consumer", name: true, text: (c) => c.consumer },
  { head: "group", name: true, text: (c) => `${c.group_name} of ${c.stream}` },
  { head: "processed", number: true, text: (c) => count(c.processed) },
  { head: "failed", number: true, text: (c) => count(c.failed) },
  { head: "retried", number: true, text: (c) => count(c.retried) },
  { head: "buried", number: true, text: (c) => count(c.buried), loud: (c) => c.buried > 0 },
  { head: "lost", number: true, text: (c) => count(c.lost), loud: (c) => c.lost > 0 },
  { head: "mean", number: true, text: (c) => milliseconds(c.handling_mean_us / 1000) },
  { head: "p99", number: true, text: (c) => milliseconds(c.handling_p99_us / 1000) },
  { head: "active", number: true, text: (c) => (c.last_active_seconds === null ? "never" : `${age(c.last_active_seconds)} ago`) },
];

const BLOCKERS = [
  { head: "who", name: true, text: (b) => `${b.application || "a transaction"}${b.pid === null ? "" : ` (pid ${b.pid})`}` },
  { head: "from", name: true, text: (b) => b.client },
  { head: "state", text: (b) => b.state },
  { head: "open", number: true, text: (b) => orDash(b.open_seconds), loud: (b) => b.open_seconds > seen.verdict.limits.well_seconds },
];

function showTables(status) {
  const { relay, streams, groups, consumers, blockers } = status;
  fill(byId("table-lanes"), LANES, streams, (s) => s.stream);
  fill(byId("table-groups"), GROUPS, groups, (g) => `${g.stream}\n${g.name}`);
  fill(byId("table-consumers"), CONSUMERS, consumers, (c) => `${c.stream}\n${c.group_name}\n${c.consumer}`);
  fill(byId("table-blockers"), BLOCKERS, blockers, (b) => `${b.pid} ${b.application}`);
  write(byId("lanes-empty"), streams.length ? "" : "No stream yet. The first event that somebody commits makes one.");
  write(byId("groups-empty"), groups.length ? "" : "No group reads. A consumer makes its group when it starts.");
  write(byId("consumers-empty"), consumers.length ? "" : "No consumer has done anything within an hour.");
  const behind = relay.last - relay.frontier;
  const final = behind > 0 ? `Final up to ${count(relay.frontier)} of ${count(relay.last)}.` : `Everything is final up to number ${count(relay.frontier)}.`;
  const overtaken = relay.overtaken > 0 ? ` ${count(relay.overtaken)} numbers of slow transactions were overtaken.` : "";
  const left = relay.left_behind > 0 ? ` ${count(relay.left_behind)} refused by Redis and locked by somebody: set aside once free.` : "";
  write(byId("frontier-text"), `${final}${overtaken}${left}${blockers.length ? "" : " No transaction that writes to the outbox is open."}`);
  const all = byId("pause-all");
  all.hidden = false;
  all.dataset.wish = relay.paused_at === null ? "pause" : "resume";
  write(all, relay.paused_at === null ? "Pause everything" : "Resume everything");
  choices("filter-stream", "every stream", streams.map((s) => s.stream));
  choices("filter-group", "every group", groups.map((g) => g.name));
  // Groups that are gone leave letters that nobody counts: so the list is read now and then, too.
  if (seen.dead !== status.dead || (Date.now() - dead.readAt > REREAD_MS && !document.hidden)) {
    seen.dead = status.dead;
    readDead();
  }
}

// The values of a filter, as far as they are known. What is chosen stays.
function choices(id, every, names) {
  const select = byId(id);
  const values = ["", ...new Set(names)].sort();
  if (select.value && !values.includes(select.value)) values.push(select.value);
  if (select.dataset.values === values.join("\n") && select.options.length) return;
  select.dataset.values = values.join("\n");
  const chosen = select.value;
  select.replaceChildren(...values.map((value) => make("option", { value }, value || every)));
  select.value = chosen;
}

// --- pause and resume

function updatePause(button, stream) {
  button.dataset.stream = stream.stream;
  button.dataset.wish = stream.paused_at === null ? "pause" : "resume";
  // While everything is paused there is nothing to pause, and one stream alone cannot be resumed.
  button.hidden = seen.status.relay.paused_at !== null;
  write(button, stream.paused_at === null ? "Pause" : "Resume");
  button.setAttribute("aria-label", `${button.textContent} ${stream.stream}`);
}

async function pauseOrResume(button) {
  const { stream, wish } = button.dataset;
  const what = stream ?? "everything";
  if (wish === "pause" && !(await sure(`Pause ${what}?`, `Nothing is sent ${stream ? `to ${stream}` : "anywhere"} any more, until somebody resumes. What is written waits, and is not lost.`, "Pause"))) return;
  button.disabled = true;
  try {
    const changed = await post(`/${wish}`, stream ? { stream } : { all: true });
    say(changed.heard === false ? "Written down; a relay has not heard it yet." : wish === "pause" ? `Paused: ${what}.` : `Resumed: ${what}.`);
  } catch (error) {
    say(sentence(error.message));
  }
  button.disabled = false;
}

function sure(title, text, word) {
  const dialog = byId("sure");
  write(byId("sure-title"), title);
  write(byId("sure-text"), text);
  write(byId("sure-yes"), word);
  dialog.returnValue = "";
  dialog.showModal();
  byId("sure-yes").focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// A short word at the foot of the page, for eyes and for those who listen.
let quiet;
function say(text) {
  write(byId("said"), text);
  clearTimeout(quiet);
  quiet = setTimeout(() => write(byId("said"), ""), 6_000);
}

// --- the wire

const isFresh = () => seen.at > 0 && Date.now() - seen.at < FRESH_MS;

function showWire() {
  const state = isFresh() ? "live" : seen.at > 0 || seen.why ? "reconnecting" : "connecting";
  const last = seen.at > 0 ? (isFresh() ? clock(seen.at) : `last seen ${clock(seen.at)}`) : "";
  document.body.classList.toggle("stale", state === "reconnecting");
  const place = byId("live");
  if (place.dataset.state !== state) place.dataset.state = state;
  write(byId("live-word"), state);
  write(byId("live-at"), last);
  if (!isFresh()) showVerdict();
}

async function begun() {
  // What was before this page was there, or while it did not hear.
  const past = await get("/history?step=1").catch(() => null);
  if (past) samples = past.samples.slice(-SAMPLES_MAX);
}

function heard(name, data) {
  seen.at = Date.now();
  seen.why = "";
  seen.here = data.this;
  seen.verdict = data.verdict;
  seen.status = name === "status" ? data : null;
  if (name === "status") {
    const others = data.this.phase === "working" ? data.this.newest?.sent_per_second : data.streams.reduce((sum, stream) => sum + stream.sent_per_second, 0);
    remember({ latency_p50_ms: null, latency_p99_ms: null, ...data.this.newest, at: data.this.newest?.at ?? data.at, sent_per_second: others ?? 0, unsent: data.unsent });
  } else {
    remember(data.this.newest);
  }
  show();
  if (samples.length) drawCharts();
  showWire();
}

// --- keys

function moveInList(by) {
  const rows = [...document.querySelectorAll("#dead-list .open")];
  const at = rows.indexOf(document.activeElement.closest?.("#dead-list li")?.querySelector(".open"));
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": () => byId("search").focus(),
  "?": () => byId("help").showModal(),
  j: () => moveInList(1),
  k: () => moveInList(-1),
  x: () => document.activeElement.closest("#dead-list li")?.querySelector("input").click(),
  r: () => byId("replay").disabled || byId("replay").click(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select");
  const dialog = document.querySelector("dialog[open]");
  const inList = event.target.closest?.("#dead-list");
  const key = { ArrowDown: inList ? "j" : "", ArrowUp: inList ? "k" : "" }[event.key] ?? event.key;
  if (typing) {
    if (event.target === byId("search") && event.key === "Escape") event.target.blur();
    else if (event.target === byId("search") && event.key === "ArrowDown") moveInList(1);
    else return;
  } else if (dialog) {
    if (dialog.id !== "letter" || !["j", "k"].includes(key)) return;
    stepLetter(key === "j" ? 1 : -1);
  } else if (KEYS[key]) {
    KEYS[key]();
  } else {
    return;
  }
  event.preventDefault();
});

// --- it begins

async function clicked(button) {
  button.hidden = false;
  await new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
  button.hidden = true;
}

async function begin() {
  prepareDead();
  for (const button of document.querySelectorAll("[data-closes]")) button.addEventListener("click", () => byId(button.dataset.closes).close());
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("pause-all").addEventListener("click", (event) => pauseOrResume(event.currentTarget));
  byId("token-form").addEventListener("submit", (event) => (event.preventDefault(), byId("token").close("use")));
  byId("sure-yes").addEventListener("click", () => byId("sure").close("yes"));
  byId("token-forget").addEventListener("click", () => (token.forget(), location.reload()));
  setInterval(showWire, 1_000);
  showWire();
  await listen({
    begun, heard,
    lost: async (refused) => {
      seen.why = refused ? sentence(refused.message) : "";
      showWire();
      // Who has said no is not asked again and again.
      if (refused?.status === 401) await clicked(byId("token-give"));
    },
  });
}

begin();
