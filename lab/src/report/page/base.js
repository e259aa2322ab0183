// What every part of the page uses: the data, elements, words, and the theme.

const data = JSON.parse(document.getElementById("data").textContent);
const CLOCK = 0, HAVE = 4, HINT = 5, NO = 6;

// A message comes as a list of numbers, see data.rs.
const messages = data.messages.map((m, i) => ({
  i, from: m[0], to: m[1], sent: m[2], received: m[3], sentNs: m[4], receivedNs: m[5], time: m[6],
  kind: m[7], key: m[8], text: data.texts[m[9]], answers: m[10], answer: m[11], search: m[12],
  why: m[13] < 0 ? "" : data.texts[m[13]], unanswered: m[14] < 0 ? "" : data.texts[m[14]],
}));
const lastTime = messages.reduce((t, m) => Math.max(t, m.time), 0);

const $ = (id) => document.getElementById(id);

// An element with properties and children. Text is never read as HTML.
function el(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const host = (i) => (i === 0 ? "tracker" : data.hosts[i].name);
const peer = (i) => (i === 0 ? "the tracker" : /^\d+$/.test(data.hosts[i].name) ? "peer " + data.hosts[i].name : data.hosts[i].name);
const plural = (n, word) => n.toLocaleString("en") + " " + word + (n === 1 ? "" : word.endsWith("ch") ? "es" : "s");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function duration(ns) {
  if (ns < 1e3) return ns + " ns";
  if (ns < 1e6) return (ns / 1e3).toFixed(1) + " µs";
  if (ns < 1e9) return (ns / 1e6).toFixed(ns < 1e7 ? 2 : 1) + " ms";
  return (ns / 1e9).toFixed(2) + " s";
}

// A long text with its middle left out.
const short = (text, n) => (text.length <= n ? text : text.slice(0, n - 5) + "…" + text.slice(-4));

// "1, 4-7, tracker" as a set of hosts; null for all. Throws what is wrong.
function parseHosts(text) {
  const chosen = new Set();
  for (const part of text.split(/[\s,]+/).filter(Boolean)) {
    const range = part.match(/^(\d+)-(\d+)$/);
    const fits = range
      ? (h) => Number(h.name) >= Number(range[1]) && Number(h.name) <= Number(range[2])
      : (h) => h.name === part;
    const found = data.hosts.map((h, i) => (fits(h) ? i : -1)).filter((i) => i >= 0);
    if (!found.length) throw "No peer " + short(part, 40) + " took part in this run.";
    found.forEach((i) => chosen.add(i));
  }
  return chosen.size ? chosen : null;
}

// "3" or "2-5" as a pair; null for all.
function parseTimes(text) {
  if (!text.trim()) return null;
  const range = text.trim().match(/^(\d+)(?:\s*[-–]\s*(\d+))?$/);
  if (!range) throw "Timesteps are a number, or two with a dash between them.";
  const [from, to] = [Number(range[1]), Number(range[2] ?? range[1])];
  if (from > to || from > lastTime) throw "The timesteps of this run go from 0 to " + lastTime + ".";
  return [from, to];
}

const themed = [];
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = theme === "dark" ? "light" : "dark";
  themed.forEach((redraw) => redraw());
}
const systemDark = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = null;
setTheme(systemDark.matches ? "dark" : "light");
systemDark.addEventListener("change", () => { if (!chosenTheme) setTheme(systemDark.matches ? "dark" : "light"); });
$("theme").addEventListener("click", () => {
  chosenTheme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  setTheme(chosenTheme);
});

// The head of the page.
(() => {
  $("title").textContent = data.name;
  $("about").textContent = data.about || "";
  const peers = data.hosts.filter((h, i) => i > 0 && h.addr).length;
  const found = data.searches.filter((s) => s.found != null).length;
  const end = messages.reduce((t, m) => Math.max(t, m.sentNs, m.receivedNs), 0);
  const facts = [
    plural(peers, "peer"), plural(lastTime, "timestep"), plural(messages.length, "message"),
    data.searches.length ? plural(data.searches.length, "search") + ", " + found.toLocaleString("en") + " found" : null,
    (data.simulated ? "simulated, " : "over sockets, ") + duration(end) + (data.simulated ? " of virtual time" : ""),
    data.cut_off ? "the trace holds only the beginning of the run" : null,
  ];
  $("facts").textContent = facts.filter(Boolean).join(" · ");
  const compared = data.logs.filter((l) => l.expected);
  const wrong = compared.filter((l) => l.divergence);
  const verdict = $("verdict");
  if (wrong.length) {
    const differ = (wrong.length === 1 ? " differs" : " differ") + " from what is expected: ";
    verdict.append(el("b", { class: "no" }, wrong.length + " of " + plural(compared.length, "log") + differ),
      ...wrong.slice(0, 6).flatMap((l, i) => [i ? ", " : "", el("a", { href: "#log-" + l.name }, l.name)]), wrong.length > 6 ? ", …" : "");
  } else if (compared.length) {
    verdict.append(el("b", { class: "yes" }, "All " + compared.length + " logs are as expected."));
  }
  for (const trouble of data.troubles.slice(0, 8)) verdict.append(el("div", { class: "no" }, trouble));
  data.keys.slice(0, 2000).forEach((key) => $("keys").append(el("option", { value: key })));
})();
