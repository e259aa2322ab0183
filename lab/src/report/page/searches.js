// The searches: a list, and the tree of the chosen one.

const WHY = ["the key came from there before", "the tracker's list", "longer list", "hint"];
const step = (s) => ({ m: messages[s[0]], why: s[1], level: s[2], parent: s[3], path: s[4] === 1 });
const outcome = (s) => (s.found == null ? (s.log == null ? "unfinished" : "not found") : s.found === s.host ? "own" : "from " + host(s.found));
const keyOf = (s) => (s.key == null ? "?" : data.keys[s.key]);
const SHOWN_SEARCHES = 500;
let listed = [], openIndex = -1;

function listSearches() {
  // "peer 3" and "timestep 5" are meant exactly; the rest is looked for in keys and outcomes.
  const numbers = {};
  const rest = $("s-filter").value.toLowerCase().replace(/\b(peer|timestep)\s+(\d+)\b/g, (_, what, n) => ((numbers[what] = n), ""));
  const words = rest.split(/[\s,]+/).filter(Boolean);
  listed = [];
  data.searches.forEach((s, i) => {
    const text = (keyOf(s) + " " + outcome(s)).toLowerCase();
    const fits = (numbers.peer ?? host(s.host)) === host(s.host) && Number(numbers.timestep ?? s.time) === s.time;
    if (fits && words.every((word) => text.includes(word))) listed.push(i);
  });
  const list = $("s-list");
  list.replaceChildren(...listed.slice(0, SHOWN_SEARCHES).map((i) => {
    const s = data.searches[i];
    return el("div", { class: "row", role: "option", id: "search-" + i, "aria-selected": String(i === openIndex), onclick: () => openSearch(i) },
      el("span", { class: "t", title: "timestep" }, String(s.time)),
      el("span", {}, peer(s.host)),
      el("span", { class: "key", title: keyOf(s) }, keyOf(s)),
      el("span", { class: "out" + (s.found == null ? " none" : "") }, outcome(s)));
  }));
  $("s-count").textContent = listed.length === data.searches.length ? plural(listed.length, "search")
    : listed.length + " of " + plural(data.searches.length, "search");
  if (listed.length > SHOWN_SEARCHES) list.append(el("div", { class: "row" }, "the first " + SHOWN_SEARCHES + " are listed: write a peer or a key above"));
}

function openSearch(i) {
  openIndex = i;
  for (const row of $("s-list").children) row.setAttribute("aria-selected", String(row.id === "search-" + i));
  const row = $("search-" + i);
  if (row) {
    $("s-list").setAttribute("aria-activedescendant", row.id);
    // Only the list scrolls, not the page.
    const list = $("s-list"), below = row.offsetTop + row.offsetHeight - list.clientHeight;
    list.scrollTop = Math.max(below, Math.min(list.scrollTop, row.offsetTop));
  }
  const s = data.searches[i], steps = s.steps.map(step), tree = $("s-tree");
  const head = el("h3", {}, peer(s.host)[0].toUpperCase() + peer(s.host).slice(1) + " looks for ", el("span", { class: "key" }, keyOf(s)));
  const parts = ["timestep " + s.time, plural(steps.length, "question"), duration(s.took_ns)];
  const sum = el("p", { class: "sum" }, parts.join(" · ") + " · " + (s.log ?? "the run ended before") + "  ");
  if (steps.length) sum.append(el("button", { type: "button", onclick: () => drawSearch(i) }, "draw it"));
  tree.replaceChildren(head, sum, pathOf(s, steps), branches(s, steps));
}

// The way to whoever has the key, in one line.
function pathOf(s, steps) {
  const path = steps.filter((t) => t.path);
  if (!path.length) return "";
  const first = path[0];
  const by = first.why === 2 ? "longer list, level " + first.level : WHY[first.why];
  const line = el("p", { class: "sum" }, "Path: ", el("span", { class: "who" }, host(s.host)), "  " + by + "  ");
  path.forEach((t, i) => line.append(i ? "  hints at  " : "→  ", el("span", { class: "who" }, host(t.m.to))));
  line.append("  has it");
  return line;
}

function branches(s, steps) {
  const children = steps.map(() => []), top = [];
  steps.forEach((t, i) => (t.why === 3 && t.parent >= 0 ? children[t.parent] : top).push(i));
  if (!steps.length) return el("p", { class: "sum" }, s.found === s.host ? "It holds the key itself: nobody is asked." : "Nobody was asked.");
  const list = el("ul", {});
  let group = null;
  const grow = (items, into) => {
    let nos = [];
    const flush = () => {
      if (!nos.length) return;
      into.append(el("li", { class: "nos" }, nos.map((i) => el("span", { class: "who" }, host(steps[i].m.to))), nos.length > 1 ? " all say no" : " says no"));
      nos = [];
    };
    for (const i of items) {
      const t = steps[i];
      if (into === list) {
        const name = t.why === 2 ? "longer list, level " + t.level : WHY[t.why];
        if (name !== group) { flush(); group = name; into.append(el("li", {}, el("span", { class: "why" }, name))); }
      }
      const answer = t.m.answer >= 0 ? messages[t.m.answer] : null;
      if (answer && answer.kind === NO && !children[i].length) { nos.push(i); continue; }
      flush();
      into.append(branch(t, answer, children[i].length ? grow(children[i], el("ul", {})) : null));
    }
    flush();
    return into;
  };
  return grow(top, list);
}

function branch(t, answer, below) {
  const said = answer ? answer.text : "no answer: " + (t.m.unanswered || "the search was over");
  const kind = answer ? answer.kind : 8;
  const took = answer && answer.receivedNs >= 0 ? duration(answer.receivedNs - t.m.sentNs) : "";
  return el("li", { class: t.path ? "path" : "" },
    el("span", { class: "ask", title: t.m.text }, el("span", { class: "who" }, host(t.m.to)),
      el("span", { class: "said", style: "color:var(--k" + kind + ")" }, said),
      el("span", { class: "took" }, took)), below);
}

$("s-filter").addEventListener("input", listSearches);
$("s-list").addEventListener("keydown", (e) => {
  const at = listed.indexOf(openIndex);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: listed.length - 1 }[e.key];
  if (e.key === "Enter" && openIndex >= 0) drawSearch(openIndex);
  if (to == null || !listed.length) return;
  e.preventDefault();
  openSearch(listed[Math.max(0, Math.min(listed.length - 1, to))]);
});
