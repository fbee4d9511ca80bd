// What is asked of the relay, with a token where one is needed, and what it tells by itself.

const TOKEN_KEY = "relay-token";
const RECONNECT_MIN_MS = 1_000;
const RECONNECT_MAX_MS = 15_000;
// It speaks each second; so long a silence is a dead wire.
const SILENCE_MAX_MS = 20_000;

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// The token lives as long as this tab, and is known to this page alone.
const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY),
  set: (value) => sessionStorage.setItem(TOKEN_KEY, value),
  forget: () => sessionStorage.removeItem(TOKEN_KEY),
};

let asking = null;

// Asks the person for a token, once for all who need it. Rejects if there will be none.
function askForToken(why) {
  const dialog = byId("token");
  write(byId("token-why"), why);
  byId("token-forget").hidden = token.get() === null;
  asking ??= new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      asking = null;
      const given = byId("token-field").value.trim();
      byId("token-field").value = "";
      if (dialog.returnValue === "use" && given) resolve(token.set(given));
      else reject(new Refused(401, "without a token there is no answer"));
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
    byId("token-field").focus();
  });
  return asking;
}

// One request, asked again with another token as long as the person gives one.
async function request(path, options = {}) {
  for (;;) {
    const shown = token.get();
    const headers = { ...options.headers, ...(shown ? { authorization: `Bearer ${shown}` } : {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" }).catch(() => {
      throw new Refused(0, "the relay cannot be reached");
    });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    const refused = new Refused(response.status, problem.detail ?? `the relay answers ${response.status}`);
    if (response.status !== 401 && !(response.status === 403 && shown)) throw refused;
    // Somebody else has asked meanwhile.
    if (token.get() !== shown) continue;
    if (response.status === 401) token.forget();
    await askForToken(sentence(shown ? refused.message : "This relay wants to know who asks."));
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

const get = async (path) => (await request(path)).json();
const getExactly = async (path) => JSON.parse(await (await request(path)).text(), exact);

async function post(path, body) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return (await request(path, options)).json();
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Listens for good. `begun` when a connection stands, `heard` for each event, `lost` when it has to begin again, and may.
async function listen({ begun, heard, lost }) {
  let wait = RECONNECT_MIN_MS;
  for (;;) {
    const stop = new AbortController();
    let alarm = setTimeout(() => stop.abort(), SILENCE_MAX_MS);
    let refused = null;
    try {
      const response = await request("/events", { signal: stop.signal });
      await begun();
      for await (const [name, data] of told(response.body, () => {
        clearTimeout(alarm);
        alarm = setTimeout(() => stop.abort(), SILENCE_MAX_MS);
      })) {
        wait = RECONNECT_MIN_MS;
        try {
          heard(name, data);
        } catch (error) {
          // A mistake of this page is no reason to hang up, and nothing to hide.
          reportError(error);
        }
      }
    } catch (error) {
      if (error instanceof Refused) refused = error;
    }
    clearTimeout(alarm);
    stop.abort();
    await lost(refused);
    // Not all pages at once.
    await sleep(wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, RECONNECT_MAX_MS);
  }
}

// Server-sent events, read by hand: the browser's own reader cannot show a token.
async function* told(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const field = (name) => lines.filter((one) => one.startsWith(`${name}: `)).map((one) => one.slice(name.length + 2));
      const data = field("data").join("\n");
      if (data) yield [field("event")[0] ?? "message", JSON.parse(data)];
    }
  }
}
