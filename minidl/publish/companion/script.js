// The search, and keyboard access to code that scrolls. The entries are in search.js: nothing
// is asked of a network.
"use strict";

const search = (field, list) => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = ENTRIES.filter(([text]) =>
    words.every((word) => text.toLowerCase().includes(word)));
  const base = field.dataset.index.replace("index.html", "");
  const rest = hits.length - 20;
  const end = rest > 0 ? `and ${rest} more` : hits.length ? "" : "nothing found";
  list.replaceChildren(...[...hits.slice(0, 20), [end]].map(([text, page]) => {
    const entry = document.createElement("li"), link = document.createElement("a");
    if (page) link.href = base + page;
    link.textContent = text;
    entry.append(link);
    return entry;
  }));
  list.hidden = !words.length;
};

document.addEventListener("DOMContentLoaded", () => {
  for (const region of document.querySelectorAll(".code, .eq, .prose pre")) {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;  // the arrow keys scroll it
  }
  const field = document.getElementById("search"), list = document.getElementById("found");
  field.addEventListener("input", () => search(field, list));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") list.querySelector("a[href]")?.click();
    if (event.key === "Escape") { field.value = ""; list.hidden = true; }
  });
});
