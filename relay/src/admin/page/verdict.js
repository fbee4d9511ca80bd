// How the relay's verdict looks. What it says, the relay decides; whether the relay is heard at all, only the page knows.

// A sign and a word beside each colour: not everybody sees colours.
const LEVELS = {
  stuck: { word: "Stuck", sign: "✕" },
  unknown: { word: "Unknown", sign: "?" },
  paused: { word: "Paused", sign: "‖" },
  behind: { word: "Behind", sign: "…" },
  look: { word: "Have a look", sign: "!" },
  well: { word: "All is well", sign: "✓" },
};

// What is to be shown: the worst first. `silence` is what the page says itself while it hears nothing.
function findings(verdict, silence) {
  if (!silence) return verdict.findings;
  // What it said last may not hold any more.
  const before = (verdict?.findings ?? []).map((one) => ({ ...one, level: "unknown", sentence: `When it was last heard: ${one.sentence}` }));
  return [{ level: "unknown", kind: "silence", about: null, ...silence }, ...before];
}
