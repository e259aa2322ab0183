// The space-time diagram: what is drawn, and where the view is.

const GUTTER = 76, AXIS = 26, OVERVIEW = 44, PAD = 14;
const MANY_MESSAGES = 12000, MANY_HOSTS = 60, MOST_ROWS = 400;
const filter = { hosts: null, key: null, times: null, search: null, kinds: data.kinds.map((_, i) => i !== CLOCK), log: true };
const view = { x: 0, scale: 1, byTime: false, picked: null, hot: null };
let shown = layOut([], false), rowHeight = 24, plot = 800;

const canvas = $("canvas"), axis = $("axis"), overview = $("overview");

// Sizes a canvas for the screen and gives its context, in CSS pixels.
function context(target, width, height) {
  const ratio = window.devicePixelRatio || 1;
  target.style.height = height + "px";
  if (target.width !== Math.round(width * ratio) || target.height !== Math.round(height * ratio)) {
    target.width = Math.round(width * ratio);
    target.height = Math.round(height * ratio);
  }
  const c = target.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  return c;
}

const toX = (column) => GUTTER + PAD + (column - view.x) * view.scale;
const toColumn = (x) => view.x + (x - GUTTER - PAD) / view.scale;
const toY = (row) => rowHeight * (row + 0.5) + 4;
const smallest = () => (plot - 2 * PAD) / shown.width;
const largest = () => Math.max(smallest(), view.byTime ? 5e5 : 160);

function clampView() {
  view.scale = Math.min(largest(), Math.max(smallest(), view.scale));
  const most = shown.width - (plot - 2 * PAD) / view.scale;
  view.x = Math.max(0, Math.min(view.x, Math.max(0, most)));
}

function zoom(factor, atX) {
  const x = atX ?? GUTTER + plot / 2, column = toColumn(x);
  view.scale = Math.min(largest(), Math.max(smallest(), view.scale * factor));
  view.x = column - (x - GUTTER - PAD) / view.scale;
  draw();
}

function lookAt(from, to) {
  view.scale = (plot - 2 * PAD) / Math.max(1e-9, to - from);
  view.x = from;
  draw();
}

// Applies the filter anew. The view begins at the start, at a width where arrows can be told apart.
function refresh() {
  const chosen = selectMessages(filter);
  shown = layOut(chosen, view.byTime);
  const tooMany = shown.rows.length > MOST_ROWS;
  if (tooMany) shown.arrows = shown.arrows.filter((a) => a.y0 < MOST_ROWS && a.y1 < MOST_ROWS);
  const rows = Math.min(shown.rows.length, MOST_ROWS);
  rowHeight = rows <= 26 ? 24 : rows <= 60 ? 19 : 14;
  $("filter-error").hidden = !tooMany && chosen.length > 0;
  $("filter-error").textContent = tooMany ? "Only the first " + MOST_ROWS + " hosts are drawn: choose peers, a key or a timestep."
    : "No message fits these filters.";
  canvas.setAttribute("aria-description", plural(chosen.length, "message") + " between " + plural(shown.rows.length, "host"));
  view.picked = view.hot = null;
  // Registering is the same in every run.
  const first = shown.bands.find((b) => b.time > 0);
  plot = canvas.clientWidth - GUTTER;
  view.scale = Math.max(smallest(), view.byTime ? smallest() : 22);
  view.x = first && !view.byTime ? first.begin - 0.5 + PAD / view.scale : 0;
  draw();
}

let frame = 0;
function draw() {
  if (!frame) frame = requestAnimationFrame(() => { frame = 0; paint(); });
}

function paint() {
  const width = canvas.clientWidth, rows = Math.min(shown.rows.length, MOST_ROWS);
  plot = width - GUTTER;
  clampView();
  const colors = data.kinds.map((_, i) => color("--k" + i));
  const look = { ink: color("--ink"), soft: color("--soft"), faint: color("--faint"), rule: color("--rule"), band: color("--band"), panel: color("--panel"), accent: color("--accent"), colors };
  const height = Math.max(60, rows * rowHeight + 8);
  const c = context(canvas, width, height);
  paintBands(c, look, height);
  paintRows(c, look, rows, width);
  c.save();
  c.beginPath(); c.rect(GUTTER, 0, plot, height); c.clip();
  paintArrows(c, look);
  if (filter.log) paintMarks(c, look);
  paintPicked(c, look);
  c.restore();
  paintAxis(context(axis, width, AXIS), look, width);
  paintOverview(context(overview, width, OVERVIEW), look);
}

const bandEdges = (b) => (view.byTime ? [toX(b.begin), toX(b.end)] : [toX(b.begin - 0.5), toX(b.end + 0.5)]);

function paintBands(c, look, height) {
  for (const [i, band] of shown.bands.entries()) {
    let [x0, x1] = bandEdges(band);
    x0 = Math.max(x0, GUTTER);
    if (x1 <= GUTTER || x0 > GUTTER + plot || i % 2) continue;
    c.fillStyle = look.band;
    c.fillRect(x0, 0, x1 - x0, height);
  }
}

function paintRows(c, look, rows, width) {
  c.font = "12px " + color("--sans");
  c.textBaseline = "middle";
  c.textAlign = "right";
  for (let row = 0; row < rows; row++) {
    const y = toY(row), place = shown.rows[row];
    c.strokeStyle = look.rule;
    c.lineWidth = 1;
    c.beginPath(); c.moveTo(GUTTER, Math.round(y) + 0.5); c.lineTo(width, Math.round(y) + 0.5); c.stroke();
    const busy = view.hot && (view.hot.m.from === place || view.hot.m.to === place);
    c.fillStyle = busy ? look.ink : look.soft;
    c.fillText(short(host(place), 11), GUTTER - 10, y);
  }
}

function paintArrows(c, look) {
  const left = toColumn(GUTTER) - 1, right = toColumn(GUTTER + plot) + 1;
  const head = !view.byTime && view.scale > 7, label = view.scale > 74;
  const dense = shown.arrows.length * Math.max(1, smallest() / view.scale) > 6000 && view.scale < 3;
  c.textAlign = "center";
  if (dense) return paintDense(c, look, left, right);
  for (const a of shown.arrows) {
    const end = a.end >= 0 ? a.end : a.begin + (view.byTime ? 0 : 0.6);
    if (Math.max(a.begin, end) < left || a.begin > right) continue;
    const loud = a.m.kind === HAVE || a.m.kind === HINT;
    c.strokeStyle = c.fillStyle = look.colors[a.m.kind];
    c.lineWidth = loud ? 1.9 : a.m.kind === NO || a.m.kind === CLOCK ? 0.9 : 1.2;
    const x0 = toX(a.begin), x1 = toX(end), y0 = toY(a.y0), y1 = a.end >= 0 ? toY(a.y1) : y0 + (toY(a.y1) - y0) * 0.6;
    c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke();
    if (a.end < 0) cross(c, x1, y1);
    else if (head) arrowHead(c, x0, y0, x1, y1, loud ? 6 : 5);
    if (label) arrowLabel(c, look, a, x0, y0, x1, y1);
  }
}

// So many lines that only their colours can be told apart: a stroke a kind, the rare ones on top.
function paintDense(c, look, left, right) {
  const byKind = look.colors.map(() => []);
  for (const a of shown.arrows) if (a.end >= 0 && a.end >= left && a.begin <= right) byKind[a.m.kind].push(a);
  const order = byKind.map((_, i) => i).sort((a, b) => byKind[b].length - byKind[a].length);
  for (const kind of order) {
    c.strokeStyle = look.colors[kind];
    c.globalAlpha = kind === HAVE || kind === HINT ? 1 : 0.45;
    c.lineWidth = 1;
    c.beginPath();
    for (const a of byKind[kind]) { c.moveTo(toX(a.begin), toY(a.y0)); c.lineTo(toX(a.end), toY(a.y1)); }
    c.stroke();
  }
  c.globalAlpha = 1;
}

function arrowHead(c, x0, y0, x1, y1, size) {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  c.beginPath();
  c.moveTo(x1, y1);
  c.lineTo(x1 - size * Math.cos(angle - 0.42), y1 - size * Math.sin(angle - 0.42));
  c.lineTo(x1 - size * Math.cos(angle + 0.42), y1 - size * Math.sin(angle + 0.42));
  c.fill();
}

function cross(c, x, y) {
  c.beginPath();
  c.moveTo(x - 4, y - 4); c.lineTo(x + 4, y + 4); c.moveTo(x - 4, y + 4); c.lineTo(x + 4, y - 4);
  c.stroke();
}

// What an arrow says, in so few letters that it fits.
function brief(m) {
  const verb = m.text.match(/^([A-Z]): /);
  if (verb) return verb[1] + (m.key >= 0 && verb[1] === "Q" ? " " + short(data.keys[m.key], 9) : "");
  return short(m.text.replace("hint: peer", "hint").replace(/ (peers|keys):.*/, " $1"), 14);
}

function arrowLabel(c, look, a, x0, y0, x1, y1) {
  const text = brief(a.m), x = (x0 + x1) / 2, y = (y0 + y1) / 2;
  c.font = "10.5px " + color("--sans");
  const width = c.measureText(text).width + 6;
  if (x - width / 2 < GUTTER) return;
  c.fillStyle = look.panel; c.globalAlpha = 0.88;
  c.fillRect(x - width / 2, y - 7, width, 14);
  c.globalAlpha = 1; c.fillStyle = look.colors[a.m.kind];
  c.fillText(text, x, y);
}

function paintMarks(c, look) {
  if (view.scale < 2.5 && !view.byTime) return;
  for (const mark of shown.marks) {
    const x = toX(mark.x);
    if (x < GUTTER || x > GUTTER + plot || mark.row >= MOST_ROWS) continue;
    c.fillStyle = mark.note.key == null ? look.soft : mark.note.held ? look.colors[HAVE] : look.colors[HINT];
    c.beginPath();
    c.arc(x, toY(mark.row), mark.note.key == null ? 2 : 3.2, 0, 7);
    c.fill();
  }
}

function paintPicked(c, look) {
  for (const a of [view.picked, view.hot]) {
    if (!a) continue;
    const end = a.end >= 0 ? a.end : a.begin;
    c.strokeStyle = c.fillStyle = look.ink;
    c.lineWidth = 2.4;
    c.beginPath(); c.moveTo(toX(a.begin), toY(a.y0)); c.lineTo(toX(end), toY(a.y1)); c.stroke();
    arrowHead(c, toX(a.begin), toY(a.y0), toX(end), toY(a.y1), 8);
  }
}

function paintAxis(c, look, width) {
  c.font = "12px " + color("--sans");
  c.textBaseline = "middle";
  c.fillStyle = look.faint; c.textAlign = "right";
  c.fillText(shown.bands.length ? "timestep" : "", GUTTER - 10, AXIS / 2);
  let busy = GUTTER;
  for (const band of shown.bands) {
    let [x0, x1] = bandEdges(band);
    if (x1 <= GUTTER || x0 > width) continue;
    c.strokeStyle = look.rule;
    if (x0 > GUTTER) { c.beginPath(); c.moveTo(x0, 0); c.lineTo(x0, AXIS); c.stroke(); }
    const x = (Math.max(x0, GUTTER) + Math.min(x1, width)) / 2;
    if (x < busy + 6) continue;
    c.fillStyle = look.ink; c.textAlign = "center";
    c.fillText(String(band.time), x, AXIS / 2);
    busy = x + c.measureText(String(band.time)).width / 2 + 6;
  }
}

function paintOverview(c, look) {
  const wide = plot - 2 * PAD, bins = Math.max(1, Math.floor(view.byTime ? wide / 2 : Math.min(wide / 2, shown.width)));
  const counts = data.kinds.map(() => new Uint32Array(bins)), total = new Uint32Array(bins);
  for (const a of shown.arrows) {
    const bin = Math.max(0, Math.min(bins - 1, Math.floor((a.begin / shown.width) * bins)));
    counts[a.m.kind][bin]++;
    total[bin]++;
  }
  const most = Math.sqrt(Math.max(1, ...total)), base = OVERVIEW - 5, each = wide / bins;
  for (let bin = 0; bin < bins; bin++) {
    let y = base;
    for (let kind = 0; kind < counts.length; kind++) {
      // The square root, so that one burst does not flatten the rest.
      const h = counts[kind][bin] ? (counts[kind][bin] / total[bin]) * (Math.sqrt(total[bin]) / most) * (OVERVIEW - 12) : 0;
      if (!h) continue;
      c.fillStyle = look.colors[kind];
      c.fillRect(GUTTER + PAD + bin * each, y - h, Math.max(1, each - 0.4), h);
      y -= h;
    }
  }
  const perColumn = wide / shown.width, span = wide / view.scale;
  const x = GUTTER + PAD + view.x * perColumn, w = Math.max(4, Math.min(wide, span * perColumn));
  c.fillStyle = look.accent; c.globalAlpha = 0.13;
  c.fillRect(x, 2, w, OVERVIEW - 4);
  c.globalAlpha = 1; c.strokeStyle = look.accent;
  c.strokeRect(x + 0.5, 2.5, w - 1, OVERVIEW - 5);
  c.fillStyle = look.faint; c.font = "12px " + color("--sans"); c.textBaseline = "middle"; c.textAlign = "right";
  c.fillText("overview", GUTTER - 10, OVERVIEW / 2);
}

themed.push(draw);
new ResizeObserver(draw).observe($("scroll"));
