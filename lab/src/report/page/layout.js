// What is shown of the run, and where: rows for hosts, columns so that what comes after
// something stands to the right of it.

// The messages that the filter lets through.
function selectMessages(filter) {
  const search = filter.search == null ? null : data.searches[filter.search];
  const inSearch = search && new Set(search.steps.flatMap((s) => [s[0], messages[s[0]].answer]));
  return messages.filter((m) =>
    filter.kinds[m.kind] &&
    (!inSearch || inSearch.has(m.i)) &&
    (!filter.hosts || filter.hosts.has(m.from) || filter.hosts.has(m.to)) &&
    (!filter.times || (m.time >= filter.times[0] && m.time <= filter.times[1])) &&
    (filter.key == null || (m.key >= 0 && filter.key.has(m.key))));
}

// The column of each end of each message of the run: what comes after something stands to the
// right of it. A host sends in the column in which it received what made it send.
const columnsOf = (() => {
  const ends = [], begin = new Int32Array(messages.length), end = new Int32Array(messages.length).fill(-1);
  for (const m of messages) {
    ends.push([m.sent, m, false]);
    if (m.received >= 0) ends.push([m.received, m, true]);
  }
  ends.sort((x, y) => x[0] - y[0]);
  const at = new Map();
  let floor = 0, columns = 0, time = -1;
  for (const [, m, arrives] of ends) {
    // A timestep begins when all of the one before is over.
    if (m.time > time) { time = m.time; floor = columns; }
    const name = arrives ? m.to : m.from, last = at.get(name) ?? -1;
    const column = Math.max(floor, arrives ? Math.max(last, begin[m.i]) + 1 : last);
    at.set(name, column);
    (arrives ? end : begin)[m.i] = column;
    columns = Math.max(columns, column + 1);
  }
  return { begin, end };
})();

// Places the chosen messages: columns that none of them uses are left out. With `byTime`,
// horizontal places are milliseconds.
function layOut(chosen, byTime) {
  const used = new Set();
  for (const m of chosen) {
    used.add(columnsOf.begin[m.i]);
    if (m.received >= 0) used.add(columnsOf.end[m.i]);
  }
  const rank = new Map([...used].sort((a, b) => a - b).map((column, i) => [column, i]));
  const arrows = chosen.map((m) => ({ m, begin: rank.get(columnsOf.begin[m.i]), end: m.received >= 0 ? rank.get(columnsOf.end[m.i]) : -1 }));
  const bands = [];
  for (const a of arrows) {
    let band = bands[bands.length - 1];
    if (!band || band.time < a.m.time) bands.push((band = { time: a.m.time, begin: a.begin, end: a.begin }));
    band.end = Math.max(band.end, a.begin, a.end);
  }
  if (byTime) placeByTime(arrows, bands);
  const hosts = new Set();
  arrows.forEach((a) => { hosts.add(a.m.from); hosts.add(a.m.to); });
  const rows = [...hosts].sort((a, b) => a - b);
  const rowOf = new Map(rows.map((h, i) => [h, i]));
  arrows.forEach((a, i) => { a.i = i; a.y0 = rowOf.get(a.m.from); a.y1 = rowOf.get(a.m.to); });
  const width = byTime ? Math.max(1e-6, ...bands.map((b) => b.end)) : Math.max(1, used.size - 1);
  return { arrows, bands, rows, rowOf, width, marks: placeNotes(arrows, rowOf) };
}

function placeByTime(arrows, bands) {
  const zero = arrows.reduce((t, a) => Math.min(t, a.m.sentNs), Infinity);
  const span = new Map();
  for (const a of arrows) {
    const columnWise = a.end >= 0;
    a.begin = (a.m.sentNs - zero) / 1e6;
    a.end = columnWise ? (a.m.receivedNs - zero) / 1e6 : -1;
    const [from, to] = span.get(a.m.time) || [Infinity, 0];
    span.set(a.m.time, [Math.min(from, a.begin), Math.max(to, a.begin, a.end)]);
  }
  bands.forEach((b) => { [b.begin, b.end] = span.get(b.time); });
}

// Whether an entry belongs to what is shown: with one key or one search in view, no other key's.
function noteFits(note) {
  if (filter.search != null) {
    const s = data.searches[filter.search];
    return note.host === s.host && note.time === s.time && note.key === s.key;
  }
  return !filter.key || filter.key.has(note.key);
}

// Entries of logs stand where their host was last heard of.
function placeNotes(arrows, rowOf) {
  const ends = new Map();
  for (const a of arrows) {
    for (const [h, seq, x] of [[a.m.from, a.m.sent, a.begin], [a.m.to, a.m.received, a.end]]) {
      if (seq < 0) continue;
      if (!ends.has(h)) ends.set(h, []);
      ends.get(h).push([seq, x, a.m.time]);
    }
  }
  ends.forEach((list) => list.sort((x, y) => x[0] - y[0]));
  const marks = [], next = new Map();
  for (const note of data.notes) {
    const list = ends.get(note.host);
    if (!list || !noteFits(note)) continue;
    let i = next.get(note.host) || 0;
    while (i < list.length && list[i][0] <= note.at) i++;
    next.set(note.host, i);
    const last = list[i - 1];
    if (last && last[2] === note.time) marks.push({ note, x: last[1], row: rowOf.get(note.host) });
  }
  return marks;
}
