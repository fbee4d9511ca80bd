// "/" leads to the search, and Escape out of it. Everything else works without a script.
addEventListener("keydown", (event) => {
  const search = document.getElementById("q");
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && event.target === search) {
    search.blur();
  }
});
