// Is anything stuck, since when, and whose fault is it?

// Up to here nobody needs to know; from there on it is a delay; a group may take longer.
const WELL_SECONDS = 2;
const BEHIND_SECONDS = 10;
const GROUP_SECONDS = 60;

// From the worst to the best. A sign and a word beside each colour: not everybody sees colours.
const LEVELS = {
  stuck: { word: "Stuck", sign: "✕" },
  unknown: { word: "Unknown", sign: "?" },
  paused: { word: "Paused", sign: "‖" },
  behind: { word: "Behind", sign: "…" },
  look: { word: "Have a look", sign: "!" },
  well: { word: "All is well", sign: "✓" },
};

// What Redis says, and what that means.
const REDIS_SAYS = [
  [/\bOOM\b/, "Redis refuses writes: its memory is full (maxmemory)"],
  [/\bREADONLY\b/i, "Redis refuses writes: it is a replica"],
  [/\bMISCONF\b/i, "Redis refuses writes: it cannot save to its disk"],
  [/\bNOREPLICAS\b/, "Redis refuses writes: it has too few replicas"],
  [/\bLOADING\b/, "Redis is still loading its data"],
  [/\b(NOAUTH|WRONGPASS|NOPERM|DENIED)\b/, "Redis does not let the relay in (user, password or rights)"],
  [/\b(CLUSTERDOWN|MASTERDOWN|TRYAGAIN|MOVED|ASK|CROSSSLOT)\b/, "the Redis cluster is not whole"],
  [/\bBUSY\b/, "Redis is busy with somebody's script"],
];

function redisInWords(reason) {
  return REDIS_SAYS.find(([pattern]) => pattern.test(reason))?.[1] ?? "Redis cannot be reached";
}

function who(blocker) {
  const name = blocker.application || "a transaction";
  return blocker.pid === null ? name : `${name} (pid ${blocker.pid})`;
}

// Of one glance, everything that a person should know, the worst first. `kind` tells whether it is still the same finding.
function findings({ status, problem, here }) {
  const found = [];
  const add = (level, kind, sentence, reason = "", link = "") => found.push({ level, kind, sentence, reason, link });
  const now = Date.parse(status?.at ?? here?.newest?.at ?? "") || Date.now();
  const since = (time) => Math.max(0, (now - Date.parse(time)) / 1000);
  const waiting = status && status.unsent > 0 ? ` ${events(status.unsent)} wait${status.unsent === 1 ? "s" : ""}; nothing is lost.` : "";

  if (here?.hangs) add("stuck", "hangs", "Stuck: the relay's loop hangs. A restart helps, and loses nothing.");
  if (here?.trouble) {
    const { away, reason, since: begun } = here.trouble;
    const what = away === "redis" ? redisInWords(reason) : "Postgres is away";
    add("stuck", away, `Stuck for ${age(since(begun))}: ${what}.${waiting}`, reason);
  } else if (problem) {
    add("stuck", "untold", "Postgres does not tell how it stands.", problem.detail);
  }
  if (!status) return found;

  const { relay, streams, groups, blockers } = status;
  if (!relay.holder && here.phase !== "working" && !here.trouble) {
    const seen = relay.last_seen_seconds === null ? "" : `; the last one was seen ${age(relay.last_seen_seconds)} ago`;
    add("stuck", "nobody", `Stuck: no relay works${seen}.${waiting}`);
  }
  const flowing = streams.filter((stream) => stream.paused_at === null);
  const waits = Math.max(0, ...flowing.map((stream) => stream.oldest_unsent_seconds ?? 0));
  let explained = found.length > 0;

  const blocker = blockers.find((one) => one.open_seconds > WELL_SECONDS);
  if (blocker && relay.frontier < relay.last && waits > WELL_SECONDS) {
    explained = true;
    const state = blocker.state === "hidden" ? "" : `, ${blocker.state}`;
    add("stuck", "frontier", `Stuck for ${age(waits)}: a transaction holds the frontier.${waiting}`,
      `${who(blocker)}${state}, open for ${age(blocker.open_seconds)}`, "#frontier");
  }
  for (const stream of flowing.filter((one) => one.refusal !== null)) {
    explained = true;
    const seconds = age(stream.oldest_unsent_seconds ?? 0);
    add("stuck", `refused ${stream.stream}`, `Stuck for ${seconds}: Redis refuses the next event of ${stream.stream}, and the rest waits behind it.`,
      stream.refusal, "#lanes");
  }
  if (relay.paused_at !== null) {
    add("paused", "paused", `Everything is paused for ${age(since(relay.paused_at))}, by ${relay.paused_by ?? "somebody"}.${waiting}`, "", "#lanes");
  } else {
    for (const stream of streams.filter((one) => one.paused_at !== null)) {
      const wait = stream.unsent > 0 ? ` ${events(stream.unsent)} wait.` : "";
      add("paused", `paused ${stream.stream}`,
        `${stream.stream} is paused for ${age(since(stream.paused_at))}, by ${stream.paused_by ?? "somebody"}.${wait}`, "", "#lanes");
    }
  }
  if (!explained && waits > BEHIND_SECONDS) {
    const unsent = flowing.reduce((sum, stream) => sum + stream.unsent, 0);
    const speed = flowing.reduce((sum, stream) => sum + stream.sent_per_second, 0);
    if (speed > 0) {
      add("behind", "behind", `Behind by ${age(waits)}: ${events(unsent)} wait, and ${rate(speed)} are sent.`, "", "#lanes");
    } else {
      add("stuck", "silent", `Stuck for ${age(waits)}: ${events(unsent)} wait, and nothing is sent.`, "The relay's log and `relay doctor` know more.", "#lanes");
    }
  }
  for (const group of groups.filter((one) => one.oldest_seconds > GROUP_SECONDS)) {
    const alone = group.consumers === 0 ? "; none of its consumers was heard of within a minute" : "";
    add(group.consumers === 0 ? "stuck" : "behind", `group ${group.stream} ${group.name}`,
      `The group ${group.name} of ${group.stream} is behind by ${age(group.oldest_seconds)} (${events(group.lag)})${alone}.`, "", "#groups");
  }
  if (here.phase === "resting" && !here.redis_is_there) {
    add("look", "rests", "This relay rests, and could not take over: it cannot reach Redis.");
  }
  if (status.dead > 0) {
    add("look", "dead", `${letters(status.dead)} wait${status.dead === 1 ? "s" : ""} for a person.`, "", "#dead");
  }
  const order = Object.keys(LEVELS);
  found.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level));
  if (found.length === 0 || found[0].level === "look") {
    const nothing = `nothing waits longer than ${Math.max(WELL_SECONDS, Math.ceil(waits))} s.`;
    if (found.length === 0) add("well", "well", `All is well: ${nothing}`);
    else found[0].sentence = `Nothing is stuck: ${nothing} ${found[0].sentence}`;
  }
  return found;
}
