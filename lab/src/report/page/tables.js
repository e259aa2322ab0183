// Who holds what, how many messages, and the logs.

// For each key, who holds it after each timestep, and each span of holding.
const holdings = (() => {
  const keys = data.keys.map(() => ({ after: Array.from({ length: lastTime + 1 }, () => 0), spans: [] }));
  const open = new Map();
  const name = (h, k) => h + ":" + k;
  const begin = (h, k, time, source) => open.set(name(h, k), { host: h, from: time, source, to: null });
  data.hosts.forEach((h, i) => h.holds.forEach((k) => begin(i, k, null, null)));
  for (const note of data.notes) {
    if (note.key == null) continue;
    const span = open.get(name(note.host, note.key));
    if (note.held && !span) begin(note.host, note.key, note.time, note.source);
    if (!note.held && span) {
      span.to = note.time;
      keys[note.key].spans.push(span);
      open.delete(name(note.host, note.key));
    }
  }
  open.forEach((span, id) => keys[Number(id.split(":")[1])].spans.push(span));
  keys.forEach((k) => {
    k.spans.sort((a, b) => (a.from ?? -1) - (b.from ?? -1) || a.host - b.host);
    for (const span of k.spans) for (let t = span.from ?? 0; t < (span.to ?? lastTime + 1); t++) k.after[t]++;
  });
  return keys;
})();

let holdingsShown = 60;
function showHoldings() {
  const words = $("h-filter").value.trim();
  let rows = data.keys.map((key, i) => i);
  const asPeer = words.match(/^(?:peer\s+)?(\d+)$/);
  if (words) rows = rows.filter((i) => data.keys[i].includes(words) || (asPeer && holdings[i].spans.some((s) => data.hosts[s.host].name === asPeer[1])));
  const changes = (i) => holdings[i].spans.length;
  rows.sort((a, b) => changes(b) - changes(a) || (data.keys[a] < data.keys[b] ? -1 : 1));
  $("h-count").textContent = rows.length === data.keys.length ? plural(rows.length, "key") : rows.length + " of " + plural(data.keys.length, "key");
  $("h-more").hidden = rows.length <= holdingsShown;
  $("h-more").textContent = "show all " + rows.length;
  const most = Math.max(1, ...rows.map((i) => Math.max(...holdings[i].after)));
  const dense = lastTime > 40;
  const steps = Array.from({ length: lastTime + 1 }, (_, t) => el("th", { class: "step" }, dense && t % 10 ? "" : String(t)));
  const body = el("tbody", {});
  for (const i of rows.slice(0, holdingsShown)) body.append(...holdingRow(i, most));
  $("h-table").replaceChildren(el("table", { class: "hold" + (dense ? " dense" : "") }, el("thead", {}, el("tr", {}, el("th", { class: "name" }, "after timestep"), steps)), body));
}

function holdingRow(i, most) {
  const k = holdings[i];
  const cells = k.after.map((n, t) => el("td", { class: "cell", title: "after timestep " + t + ": " + plural(n, "peer"),
    style: n ? "background:color-mix(in srgb, var(--k4) " + Math.round(14 + (n / most) * 66) + "%, transparent)" : "background:var(--band)" }, n ? String(n) : ""));
  const who = el("tr", { class: "who-row", hidden: true });
  const button = el("button", { type: "button", class: "key", title: data.keys[i], "aria-expanded": "false", onclick: () => {
    who.hidden = !who.hidden;
    button.setAttribute("aria-expanded", String(!who.hidden));
    if (!who.childNodes.length) who.append(el("td", { colspan: String(lastTime + 2) }, el("ol", {}, k.spans.map((s) => el("li", {}, spanText(s))))));
  } }, data.keys[i]);
  return [el("tr", {}, el("td", { class: "name" }, button), cells), who];
}

function spanText(s) {
  const from = s.from == null ? "from the start" : "from timestep " + s.from + (s.source == null ? "" : ", got from " + peer(s.source));
  return peer(s.host) + ": " + from + (s.to == null ? "" : ", purged in timestep " + s.to);
}

$("h-filter").addEventListener("input", showHoldings);
$("h-more").addEventListener("click", () => { holdingsShown = Infinity; showHoldings(); });

let sortBy = "host", sortDown = true;
function showCounts() {
  const used = data.kinds.map((_, i) => i).filter((i) => data.hosts.some((h) => h.sent[i]));
  const total = (h) => h.sent.reduce((a, b) => a + b, 0);
  const value = { host: (i) => -i, sent: (i) => total(data.hosts[i]), received: (i) => data.hosts[i].received };
  used.forEach((k) => { value["k" + k] = (i) => data.hosts[i].sent[k]; });
  const order = data.hosts.map((_, i) => i).sort((a, b) => (sortDown ? 1 : -1) * (value[sortBy](b) - value[sortBy](a)) || a - b);
  const heading = (id, text, number) => el("th", { class: number ? "num" : "", scope: "col", "aria-sort": sortBy === id ? (sortDown ? "descending" : "ascending") : null },
    el("button", { type: "button", onclick: () => { sortDown = sortBy === id ? !sortDown : true; sortBy = id; showCounts(); } }, text));
  const cell = (n) => el("td", { class: "num" + (n ? "" : " zero") }, n ? n.toLocaleString("en") : "·");
  const sum = (f) => data.hosts.reduce((n, h) => n + f(h), 0);
  // The bars leave the clock out: it would be most of the tracker's.
  const most = Math.max(1, ...data.hosts.map((h) => total(h) - h.sent[CLOCK]));
  const head = el("tr", {}, heading("host", "host"), used.map((k) => heading("k" + k, data.kinds[k], true)), heading("sent", "sent", true), heading("received", "received", true), el("th", {}));
  const all = el("tr", { class: "total" }, el("td", {}, "all"), used.map((k) => cell(sum((h) => h.sent[k]))), cell(sum(total)), cell(sum((h) => h.received)), el("td", {}));
  const rows = order.map((i) => {
    const h = data.hosts[i];
    const bars = el("span", { class: "bars" }, used.filter((k) => k !== CLOCK).map((k) => el("i", { style: "width:" + (h.sent[k] / most) * 100 + "%;background:var(--k" + k + ")" })));
    return el("tr", {}, el("td", {}, i ? peer(i) : "tracker"), used.map((k) => cell(h.sent[k])), cell(total(h)), cell(h.received), el("td", {}, bars));
  });
  $("m-table").replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, all, rows)));
}

function showLogs() {
  $("l-list").replaceChildren(...data.logs.map((log) => {
    const differs = !!log.divergence;
    const state = !log.expected ? el("span", {}, "") : differs ? el("span", { class: "no" }, "differs from the expected one at entry " + (log.divergence.index + 1)) : el("span", { class: "yes" }, "as expected");
    const details = el("details", { class: "log", id: "log-" + log.name, open: differs && data.logs.filter((l) => l.divergence).length <= 12 },
      el("summary", {}, el("span", {}, log.name), el("span", { class: "grow" }, log.entries.length + (log.entries.length === 1 ? " entry" : " entries")), state));
    const fill = () => { if (details.open && details.children.length === 1) details.append(...logBody(log)); };
    details.addEventListener("toggle", fill);
    fill();
    return details;
  }));
}

function logBody(log) {
  const both = !!log.divergence && log.expected;
  const length = Math.max(log.entries.length, both ? log.expected.length : 0), rows = [];
  const text = (entry) => (entry ? entry.text : "");
  for (let i = 0; i < length; i++) {
    const got = log.entries[i], want = both ? log.expected[i] : null;
    const same = !both || (got && want && got.time === want.time && got.text === want.text);
    const time = got && want && got.time !== want.time ? got.time + " / " + want.time : String((got || want).time);
    rows.push(el("tr", { class: same ? "" : "differs" }, el("td", {}, time), el("td", {}, text(got)), both ? el("td", {}, text(want)) : null));
  }
  const head = el("tr", {}, el("th", {}, "time"), el("th", {}, both ? "this run" : "entry"), both ? el("th", {}, "expected") : null);
  const cause = both ? [el("p", { class: "cause" }, "First difference, entry " + (log.divergence.index + 1) + ": " + log.divergence.explanation)] : [];
  return [...cause, el("table", {}, el("thead", {}, head), el("tbody", {}, rows))];
}

openFiltered();
refresh();
listSearches();
const firstSearch = filter.search ?? data.searches.findIndex((s) => s.steps.length > 0);
if (data.searches.length) openSearch(Math.max(0, firstSearch)); else $("s-tree").append("Nobody searched in this run.");
showHoldings();
showCounts();
showLogs();
