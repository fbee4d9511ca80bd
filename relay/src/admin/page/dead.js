// Dead letters: found, looked at, chosen, sent again, forgotten.

const PAGE_LETTERS = 50;
const PAGE_LETTERS_MAX = 500;
const TYPING_MS = 250;
const PROGRESS_EVERY_MS = 500;

const dead = {
  items: [], next: null, total: 0,
  // Ids of events; or everything that the filter finds, also what is not on this page.
  chosen: new Set(), all: false,
  // Answers that come late are not shown.
  asked: 0, readAt: 0,
};

const FILTERS = { search: "search", stream: "filter-stream", group: "filter-group", type: "filter-type" };

// What the fields say, without those that say nothing.
function filter() {
  const said = Object.entries(FILTERS).map(([name, id]) => [name, byId(id).value.trim()]);
  return Object.fromEntries(said.filter(([, value]) => value !== ""));
}

async function readDead({ more = false } = {}) {
  const asked = ++dead.asked;
  dead.readAt = Date.now();
  const limit = more ? PAGE_LETTERS : Math.min(PAGE_LETTERS_MAX, Math.max(PAGE_LETTERS, dead.items.length));
  const query = new URLSearchParams({ ...filter(), limit, ...(more ? { after: dead.next } : {}) });
  try {
    const page = await get(`/dead?${query}`);
    if (asked !== dead.asked) return;
    dead.items = more ? [...dead.items, ...page.items] : page.items;
    dead.next = page.next;
    dead.total = page.total;
    showDead();
  } catch (error) {
    if (asked === dead.asked) write(byId("dead-empty"), sentence(error.message));
  }
}

// A person narrows the search: what was chosen under another one is not meant any more.
function readAnew() {
  choose(() => dead.chosen.clear());
  dead.items = [];
  return readDead();
}

function choose(change) {
  dead.all = false;
  change();
  showChosen();
}

const keyOfLetter = (letter) => [letter.id, letter.stream, letter.group_name ?? "", letter.entry ?? ""].join("\n");

function showDead() {
  const list = byId("dead-list");
  const known = new Map([...list.children].map((row) => [row.dataset.key, row]));
  dead.items.forEach((letter, at) => {
    const key = keyOfLetter(letter);
    const row = known.get(key) ?? rowOf(letter, key);
    known.delete(key);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  });
  const hadFocus = [...known.values()].some((row) => row.contains(document.activeElement));
  for (const gone of known.values()) gone.remove();
  if (hadFocus) (list.querySelector(".open") ?? byId("search")).focus();
  const filtered = Object.keys(filter()).length > 0;
  write(byId("dead-total"), count(dead.total));
  write(byId("dead-empty"), dead.total > 0 ? "" : filtered ? "No dead letter fits this search."
    : "No dead letters. An event ends here when its last attempt has failed, and waits for a person.");
  byId("dead-more").hidden = dead.next === null;
  byId("dead-tools").hidden = dead.total === 0;
  byId("dead-types").replaceChildren(...[...new Set(dead.items.map((one) => one.type).filter(Boolean))].map((type) => make("option", { value: type })));
  showChosen();
}

// "could not be sent", or which group could not take it.
const whereFailed = (letter) => (letter.group_name === null ? letter.stream : `${letter.stream} → ${letter.group_name}`);

function rowOf(letter, key) {
  const check = make("input", {
    type: "checkbox", "aria-label": `Choose ${letter.id}`,
    onchange: () => choose(() => (check.checked ? dead.chosen.add(letter.id) : dead.chosen.delete(letter.id))),
  });
  const open = make("button", { type: "button", className: "open", onclick: () => showLetter(letter.id) },
    make("span", { className: "id" }, letter.id),
    make("span", { className: "where" }, whereFailed(letter)),
    make("span", { className: "why" }, letter.last_error),
    make("span", { className: "when", title: letter.dead_at }, `${letter.attempts} attempt${letter.attempts === 1 ? "" : "s"} · ${clock(letter.dead_at)}`));
  const row = make("li", {}, make("label", { className: "check" }, check), open);
  row.dataset.key = key;
  row.dataset.id = letter.id;
  return row;
}

function showChosen() {
  const loaded = new Set(dead.items.map((letter) => letter.id));
  for (const row of byId("dead-list").children) {
    const chosen = dead.all || dead.chosen.has(row.dataset.id);
    row.classList.toggle("chosen", chosen);
    row.querySelector("input").checked = chosen;
  }
  const chosen = dead.all ? dead.total : dead.chosen.size;
  const page = byId("choose-page");
  page.checked = chosen > 0 && (dead.all || [...loaded].every((id) => dead.chosen.has(id)));
  page.indeterminate = chosen > 0 && !page.checked;
  byId("choose-all").hidden = dead.all || !page.checked || dead.next === null;
  write(byId("choose-all"), `Choose all ${count(dead.total)} that fit`);
  write(byId("chosen"), chosen === 0 ? "None chosen" : dead.all ? `All ${count(chosen)} that fit` : `${count(chosen)} chosen`);
  byId("replay").disabled = byId("drop").disabled = chosen === 0;
}

// What the chosen letters are called in a request.
function selection() {
  if (!dead.all) return { ids: [...dead.chosen] };
  const said = filter();
  return Object.keys(said).length > 0 ? said : { all: true };
}

// --- one letter

async function showLetter(id) {
  const dialog = byId("letter");
  const body = byId("letter-body");
  dialog.dataset.id = id;
  write(byId("letter-id"), id);
  body.replaceChildren(make("p", { className: "quiet" }, "Reading …"));
  if (!dialog.open) dialog.showModal();
  try {
    const found = await getExactly(`/dead/${encodeURIComponent(id)}`);
    if (dialog.dataset.id !== id) return;
    body.replaceChildren(...found.map(wholeLetter), trailOf(id));
  } catch (error) {
    body.replaceChildren(make("p", { className: "reason" }, sentence(error.message)));
  }
  body.scrollTop = 0;
}

function wholeLetter(letter) {
  const facts = [
    ["Type", letter.ver > 1 ? `${letter.type}, version ${letter.ver}` : letter.type], ["Key", letter.key], ["Entry", letter.entry],
    ["Written", letter.created_at && clock(letter.created_at)], ["Buried", clock(letter.dead_at)],
    ["Attempts", String(letter.attempts)], ["Replays", letter.replays > 0 ? String(letter.replays) : null],
    ["Lane", letter.lane], ["Consumer", letter.consumer], ["Handler", letter.handler],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  const texts = [
    ["Payload", letter.payload, true], ["Headers", letter.headers, false], ["Attempts, one by one", letter.failures, false],
    ["Rounds before", letter.earlier, false], ["Fields of the entry", letter.fields, true],
  ].filter(([, value]) => value !== null && value !== undefined && JSON.stringify(value) !== "{}" && JSON.stringify(value) !== "[]");
  const where = letter.group_name === null ? `Could not be sent to ${letter.stream}` : `The group ${letter.group_name} of ${letter.stream} could not take it`;
  return make("section", {},
    make("h3", {}, where),
    make("p", { className: "reason" }, letter.last_error),
    letter.masked ? make("p", { className: "quiet" }, "Where *** stands, a value is hidden (RELAY_MASK).") : null,
    make("dl", { className: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    ...texts.map(([name, value, open]) => make("details", { open }, make("summary", {}, name), make("pre", { tabIndex: 0 }, inLines(value)))));
}

// Where the event is, asked for when somebody wants to know.
function trailOf(id) {
  const text = make("pre", { tabIndex: 0 }, "Reading …");
  const details = make("details", {
    ontoggle: async () => {
      if (!details.open || details.dataset.asked) return;
      details.dataset.asked = "yes";
      text.textContent = await getExactly(`/trace/${encodeURIComponent(id)}`).then(inLines, (error) => sentence(error.message));
    },
  }, make("summary", {}, "Where the event is"), text);
  return details;
}

// The letter after or before the one that is shown.
function stepLetter(by) {
  const ids = [...new Set(dead.items.map((letter) => letter.id))];
  const next = ids[ids.indexOf(byId("letter").dataset.id) + by];
  if (next !== undefined) showLetter(next);
}

// --- deeds

const DEEDS = {
  replay: {
    title: "Replay", did: "replayed", path: "/dead/replay",
    would: (job) => (job.done === 0 ? "This would replay none." : `This would replay ${count(job.done)}: each goes again to where it failed.`),
  },
  drop: {
    title: "Drop", did: "dropped", path: "/dead/drop",
    would: (job) => `This would forget ${letters(job.done)} for good. Nobody can bring ${job.done === 1 ? "it" : "them"} back.`,
  },
};

function leftAlone(job) {
  const left = [];
  if (job.left_no_events > 0) left.push(`${count(job.left_no_events)} left alone: no events, so nothing can be sent.`);
  if (job.left_looping > 0) left.push(`${count(job.left_looping)} left alone: replayed too often in vain. Choose them one by one, and they are replayed all the same.`);
  return left.join(" ");
}

// Says first what it would do; does it when the person has said yes; tells how far it is.
async function act(name, which) {
  const deed = DEEDS[name];
  const dialog = byId("deed");
  const [yes, no, typed, bar] = ["deed-yes", "deed-no", "deed-typed", "deed-progress"].map(byId);
  const tell = (text, more = "") => (write(byId("deed-text"), text), write(byId("deed-more"), more));
  write(byId("deed-title"), deed.title);
  tell("Counting …");
  yes.hidden = bar.hidden = byId("deed-type").hidden = true;
  write(no, "Cancel");
  dialog.showModal();
  try {
    const would = await post(deed.path, { ...which, dry_run: true });
    tell(deed.would(would), leftAlone(would));
    // To forget many takes more than a slip of the hand.
    const guarded = name === "drop" && would.done > 1;
    write(byId("deed-count"), String(would.done));
    byId("deed-type").hidden = !guarded;
    typed.value = "";
    yes.hidden = would.done === 0;
    yes.className = name === "drop" ? "danger" : "main";
    write(yes, `${deed.title} ${count(would.done)}`);
    yes.disabled = guarded;
    typed.oninput = () => (yes.disabled = guarded && typed.value.trim() !== String(would.done));
    if (would.done === 0) return no.focus();
    (guarded ? typed : name === "drop" ? no : yes).focus();
    if (!(await saidYes(dialog, yes))) return;

    yes.hidden = byId("deed-type").hidden = true;
    bar.hidden = false;
    bar.removeAttribute("value");
    tell("Under way …");
    write(no, "Close");
    let job = await post(deed.path, which);
    while (job.state === "running") {
      bar.max = Math.max(1, job.meant);
      bar.value = job.done;
      const left = job.eta_seconds === null ? "" : `, about ${age(job.eta_seconds)} left`;
      tell(`${count(job.done)} of ${count(job.meant)} ${deed.did}${left}.`, "It goes on even if you close this.");
      await sleep(PROGRESS_EVERY_MS);
      job = await get(`/jobs/${job.id}`);
    }
    bar.hidden = true;
    if (job.state === "failed") tell(`It failed after ${count(job.done)}: ${sentence(job.error)}`);
    else tell(`${count(job.done)} ${deed.did}.`, leftAlone(job));
    choose(() => dead.chosen.clear());
    if (byId("letter").open) byId("letter").close();
    await readDead();
  } catch (error) {
    bar.hidden = yes.hidden = true;
    tell(sentence(error.message));
  }
  no.focus();
}

function saidYes(dialog, yes) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = (answer) => (over.abort(), resolve(answer));
    yes.addEventListener("click", () => end(true), { signal: over.signal });
    dialog.addEventListener("close", () => end(false), { signal: over.signal });
  });
}

function prepareDead() {
  let typing;
  for (const id of Object.values(FILTERS)) {
    byId(id).addEventListener("input", () => (clearTimeout(typing), (typing = setTimeout(readAnew, TYPING_MS))));
  }
  byId("choose-page").addEventListener("change", (event) => choose(() => {
    dead.chosen.clear();
    if (event.target.checked) for (const letter of dead.items) dead.chosen.add(letter.id);
  }));
  byId("choose-all").addEventListener("click", () => {
    dead.all = true;
    showChosen();
    byId("replay").focus();
  });
  byId("dead-more").addEventListener("click", () => readDead({ more: true }));
  byId("replay").addEventListener("click", () => act("replay", selection()));
  byId("drop").addEventListener("click", () => act("drop", selection()));
  byId("letter-replay").addEventListener("click", () => act("replay", { ids: [byId("letter").dataset.id] }));
  byId("letter-drop").addEventListener("click", () => act("drop", { ids: [byId("letter").dataset.id] }));
}
