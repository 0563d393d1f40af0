// The theme, the search, and the keys: j or n to the next section, k or p to the one before,
// t the theme, / the search. The entries are in search.js: nothing is asked of a network.
"use strict";

const stored = (value) => {
  try {
    if (value) localStorage.setItem("theme", value);
    return localStorage.getItem("theme");
  } catch { return null; }       // some browsers keep nothing for pages on disk
};
const theme = (value) => { if (value) document.documentElement.dataset.theme = value; };
theme(stored());                 // before the page is drawn

const toggle = () => {
  const set = document.documentElement.dataset.theme;
  const dark = set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme(dark ? "light" : "dark");
  stored(dark ? "light" : "dark");
};

const go = (step) => {
  const bar = document.querySelector("header.top");  // on narrow screens it scrolls away
  const header = (getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0) + 24;
  const stops = [...document.querySelectorAll("[data-stop]")];
  const tops = stops.map((stop) => stop.getBoundingClientRect().top - header);
  const at = stops.indexOf(document.activeElement);
  const seen = at >= 0 && tops[at] > -header && tops[at] < innerHeight - header;
  // from where the reader is: the end of a page cannot be scrolled to the top
  const to = seen ? at + step
    : step > 0 ? tops.findIndex((top) => top > 4) : tops.findLastIndex((top) => top < -4);
  if (stops[to]) {
    stops[to].focus({preventScroll: true});
    scrollBy(0, tops[to]);
  } else if (step < 0) {
    scrollTo(0, 0);
  }
};

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
  document.getElementById("theme").addEventListener("click", toggle);
  const field = document.getElementById("search"), list = document.getElementById("found");
  field.addEventListener("input", () => search(field, list));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") list.querySelector("a[href]")?.click();
    if (event.key === "Escape") { field.value = ""; list.hidden = true; }
  });
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.id === "search") return;   // letters belong to the field
  if (event.key === "/") { event.preventDefault(); document.getElementById("search").focus(); }
  if (event.key === "j" || event.key === "n") go(1);
  else if (event.key === "k" || event.key === "p") go(-1);
  else if (event.key === "t") toggle();
});
