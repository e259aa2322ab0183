// The diagram's filters, mouse and keys.

// Who is told of a message: the tip beside the pointer, and the line below the diagram.
function describe(m) {
  const lines = [el("b", {}, peer(m.from) + " → " + peer(m.to)), "  " + m.text];
  const when = ["timestep " + m.time, duration(m.sentNs)];
  if (m.receivedNs >= 0) when.push("took " + duration(m.receivedNs - m.sentNs));
  lines.push(el("br", {}), el("i", {}, when.join(" · ")));
  if (m.why) lines.push(el("br", {}), el("i", {}, "asked because: " + m.why));
  if (m.answer >= 0) lines.push(el("br", {}), el("i", {}, "answer: " + messages[m.answer].text));
  if (m.answers >= 0) lines.push(el("br", {}), el("i", {}, "to: " + messages[m.answers].text));
  if (m.unanswered) lines.push(el("br", {}), el("i", {}, "no answer: " + m.unanswered));
  return lines;
}

function pick(a) {
  view.picked = a;
  const detail = $("detail");
  detail.replaceChildren(...describe(a.m));
  if (a.m.search >= 0) {
    const open = () => { openSearch(a.m.search); $("searches").scrollIntoView(); };
    detail.append("  ", el("button", { type: "button", class: "quiet", onclick: open }, "its search"));
  }
  draw();
}

// The message or mark at a point of the canvas.
function hit(x, y) {
  let best = null, least = 36;
  for (const a of shown.arrows) {
    const x0 = toX(a.begin), x1 = toX(a.end >= 0 ? a.end : a.begin);
    if (Math.max(x0, x1) < x - 6 || Math.min(x0, x1) > x + 6 || x0 < 0) continue;
    const y0 = toY(a.y0), y1 = toY(a.y1), dx = x1 - x0, dy = y1 - y0;
    const t = Math.max(0, Math.min(1, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
    const d = (x - x0 - t * dx) ** 2 + (y - y0 - t * dy) ** 2;
    if (d < least) { least = d; best = a; }
  }
  return best;
}

function hitMark(x, y) {
  return filter.log ? shown.marks.find((k) => Math.abs(toX(k.x) - x) < 5 && Math.abs(toY(k.row) - y) < 5) : null;
}

function showTip(event, children) {
  const tip = $("tip"), stage = tip.parentElement.getBoundingClientRect();
  tip.replaceChildren(...children);
  tip.hidden = false;
  const x = event.clientX - stage.left, y = event.clientY - stage.top;
  tip.style.left = Math.max(4, Math.min(x + 14, stage.width - tip.offsetWidth - 6)) + "px";
  tip.style.top = (y + 18 + tip.offsetHeight > stage.height ? Math.max(2, y - tip.offsetHeight - 10) : y + 18) + "px";
}

let drag = null;
canvas.addEventListener("pointerdown", (e) => {
  drag = { x: e.clientX, from: view.x, moved: false };
  canvas.setPointerCapture(e.pointerId);
});
canvas.addEventListener("pointermove", (e) => {
  const box = canvas.getBoundingClientRect(), x = e.clientX - box.left, y = e.clientY - box.top;
  if (drag) {
    drag.moved ||= Math.abs(e.clientX - drag.x) > 3;
    if (drag.moved) {
      canvas.classList.add("drag");
      $("tip").hidden = true;
      view.x = drag.from - (e.clientX - drag.x) / view.scale;
      draw();
    }
    return;
  }
  const mark = hitMark(x, y), found = x > GUTTER && !mark ? hit(x, y) : null;
  canvas.classList.toggle("hit", !!found);
  if (mark) showTip(e, [el("b", {}, peer(mark.note.host)), "  " + mark.note.text]);
  else if (found) showTip(e, describe(found.m));
  else $("tip").hidden = true;
  if (found !== view.hot) { view.hot = found; draw(); }
});
canvas.addEventListener("pointerup", (e) => {
  canvas.classList.remove("drag");
  if (drag && !drag.moved) {
    const box = canvas.getBoundingClientRect(), found = hit(e.clientX - box.left, e.clientY - box.top);
    if (found) pick(found);
  }
  drag = null;
});
canvas.addEventListener("pointercancel", () => { drag = null; canvas.classList.remove("drag"); });
canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; view.hot = null; draw(); });
canvas.addEventListener("wheel", (e) => {
  if (e.ctrlKey || e.metaKey) zoom(Math.exp(-e.deltaY / 200), e.clientX - canvas.getBoundingClientRect().left);
  else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) { view.x += (e.deltaX || e.deltaY) / view.scale; draw(); }
  else return;
  e.preventDefault();
}, { passive: false });

canvas.addEventListener("keydown", (e) => {
  const step = plot / 8 / view.scale, at = view.picked ? view.picked.i : -1;
  const go = (i) => {
    const a = shown.arrows[Math.max(0, Math.min(shown.arrows.length - 1, i))];
    if (!a) return;
    const x = toX(a.begin);
    if (x < GUTTER + 20 || x > GUTTER + plot - 60) view.x = a.begin - plot / 3 / view.scale;
    pick(a);
  };
  const firstInView = () => shown.arrows.findIndex((a) => toX(a.begin) >= GUTTER);
  if (e.key === "+" || e.key === "=") zoom(1.5);
  else if (e.key === "-") zoom(1 / 1.5);
  else if (e.key === "0") lookAt(0, shown.width);
  else if (e.shiftKey && e.key === "ArrowLeft") { view.x -= step; draw(); }
  else if (e.shiftKey && e.key === "ArrowRight") { view.x += step; draw(); }
  else if (e.key === "ArrowRight") go(at < 0 ? firstInView() : at + 1);
  else if (e.key === "ArrowLeft") go(at < 0 ? firstInView() : at - 1);
  else if (e.key === "Home") go(0);
  else if (e.key === "End") go(shown.arrows.length - 1);
  else if (e.key === "Enter" && view.picked && view.picked.m.search >= 0) { openSearch(view.picked.m.search); $("s-list").focus(); }
  else return;
  e.preventDefault();
});

// The strip of the whole run.
let sliding = false;
const slide = (e) => {
  const x = e.clientX - overview.getBoundingClientRect().left - GUTTER - PAD;
  view.x = (x / (plot - 2 * PAD)) * shown.width - (plot - 2 * PAD) / view.scale / 2;
  draw();
};
overview.addEventListener("pointerdown", (e) => { sliding = true; overview.setPointerCapture(e.pointerId); slide(e); });
overview.addEventListener("pointermove", (e) => { if (sliding) slide(e); });
overview.addEventListener("pointerup", () => { sliding = false; });

$("zoom-in").addEventListener("click", () => zoom(1.6));
$("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
$("zoom-all").addEventListener("click", () => lookAt(0, shown.width));
for (const [id, byTime] of [["axis-order", false], ["axis-time", true]]) {
  $(id).addEventListener("click", () => {
    view.byTime = byTime;
    $("axis-order").setAttribute("aria-pressed", String(!byTime));
    $("axis-time").setAttribute("aria-pressed", String(byTime));
    refresh();
  });
}

// The legend is the filter by kind.
const legend = $("legend");
const counts = data.kinds.map((_, i) => messages.reduce((n, m) => n + (m.kind === i), 0));
function legendButton(name, swatch, n, get, set) {
  const button = el("button", { type: "button", "aria-pressed": String(get()), onclick: () => {
    set(!get());
    button.setAttribute("aria-pressed", String(get()));
    refresh();
  } }, el("span", { class: "swatch", style: "background:" + swatch }), name, el("span", { class: "n" }, n == null ? "" : n.toLocaleString("en")));
  button.sync = () => button.setAttribute("aria-pressed", String(get()));
  legend.append(button);
}
data.kinds.forEach((name, i) => {
  if (counts[i]) legendButton(name, "var(--k" + i + ")", counts[i], () => filter.kinds[i], (on) => { filter.kinds[i] = on; });
});
legendButton("log entries", "var(--soft)", data.notes.length, () => filter.log, (on) => { filter.log = on; });

function readFilter() {
  const error = $("filter-error");
  try {
    filter.hosts = parseHosts($("f-peers").value);
    filter.times = parseTimes($("f-times").value);
    const text = $("f-key").value.trim();
    const exact = data.keys.indexOf(text);
    filter.key = !text ? null : new Set(exact >= 0 ? [exact] : data.keys.flatMap((k, i) => (k.includes(text) ? [i] : [])));
    if (filter.key && !filter.key.size) throw "No key of this run has " + short(text, 40) + " in it.";
  } catch (problem) {
    error.hidden = false;
    error.textContent = String(problem);
    return;
  }
  refresh();
}
let typing = 0;
$("filter").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(readFilter, 150); });
$("filter").addEventListener("submit", (e) => { e.preventDefault(); readFilter(); });

function showSearchChip() {
  const chip = $("f-search");
  chip.hidden = filter.search == null;
  if (filter.search == null) return;
  const s = data.searches[filter.search];
  const clear = () => { filter.search = null; showSearchChip(); refresh(); };
  chip.replaceChildren("search of " + peer(s.host) + ", timestep " + s.time,
    el("button", { type: "button", onclick: clear, "aria-label": "Show all messages again" }, "×"));
}

function drawSearch(i) {
  Object.assign(filter, { hosts: null, key: null, times: null, search: i });
  for (const id of ["f-peers", "f-key", "f-times"]) $(id).value = "";
  showSearchChip();
  refresh();
  lookAt(0, shown.width);
  $("diagram").scrollIntoView();
}

$("reset").addEventListener("click", () => {
  Object.assign(filter, { hosts: null, key: null, times: null, search: null, log: true, kinds: data.kinds.map((_, i) => i !== CLOCK) });
  for (const id of ["f-peers", "f-key", "f-times"]) $(id).value = "";
  for (const button of legend.children) button.sync();
  $("notice").hidden = true;
  showSearchChip();
  refresh();
});

// A large run opens with a part of itself.
function openFiltered() {
  const drawn = messages.length - counts[CLOCK];
  if (drawn <= MANY_MESSAGES && data.hosts.length <= MANY_HOSTS) return;
  const first = data.searches.findIndex((s) => s.steps.length > 1 && s.found != null && s.steps.some((t) => messages[t[0]].answer >= 0 && messages[messages[t[0]].answer].kind === HINT));
  const search = first >= 0 ? first : data.searches.findIndex((s) => s.steps.length > 1);
  const about = plural(data.hosts.length - 1, "peer") + " and " + plural(drawn, "message") + " are more than can be read at once. ";
  const notice = $("notice");
  notice.hidden = false;
  if (search >= 0) {
    filter.search = search;
    showSearchChip();
    notice.append(about + "Shown is one search; choose others below, or peers, a key or timesteps here. ");
  } else {
    const time = Math.min(1, lastTime);
    filter.times = [time, time];
    $("f-times").value = String(time);
    notice.append(about + "Shown is timestep " + time + "; choose peers, a key or other timesteps here. ");
  }
  notice.append(el("button", { type: "button", onclick: () => $("reset").click() }, "show everything"));
}
