// What the page says: reads the records (one JSON line per phase, described in the tool's README) and fills the document.
// Text from the run is only ever set as text, never as markup.

const records = document.getElementById("records").textContent.split("\n").flatMap((line) => {
  // A line cut short by a full disk must not take the rest of the page with it.
  try {
    return line.trim() ? [JSON.parse(line)] : [];
  } catch {
    return [];
  }
});
const labels = [...new Set(records.map((record) => record.label))];
const phaseName = (record) => (labels.length > 1 ? `${record.label} ${record.phase}` : record.phase);

const $ = (id) => document.getElementById(id);
const sum = (pick) => records.reduce((total, record) => total + (pick(record) ?? 0), 0);
const last = (list) => list[list.length - 1];
// Lists may be longer than what Math.max takes as arguments.
const highest = (list) => list.reduce((a, b) => Math.max(a, b), -Infinity);
const lowest = (list) => list.reduce((a, b) => Math.min(a, b), Infinity);

// Where one phase ends and the next begins, samples lie milliseconds apart, and what was added between them says nothing.
const RATE_OVER_S = 0.25;

const first = records[0];
const measured = records.filter((record) => record.latency_us?.count);
// The phase the run is about: the storm itself, else the last that measured messages, else simply the last.
const storm = records.find((record) => record.phase === "reconnect");
const main = storm ?? last(measured.filter((record) => record.phase !== "connect")) ?? last(records);
const samples = records.flatMap((record) => record.timeline ?? []).sort((a, b) => a.t_ms - b.t_ms);

if (first) {
  fillHeader();
  fillHeadline();
  fillCharts();
  fillPhases();
  fillRun();
} else {
  $("verdict").textContent = "No phase was recorded.";
}

function fillHeader() {
  const title = `${first.scenario} · ${labels.join(", ")}`;
  document.title = `${title} · Ringway flood report`;
  $("title").textContent = title;
  const when = new Date(first.started_unix_ms).toISOString().slice(0, 16).replace("T", " ") + " UTC";
  const host = `Linux ${first.host.kernel}, ${first.host.cores} cores, ${bytes(first.host.memory_bytes, true)}`;
  $("subtitle").textContent = `${when} · ${host}`;

  const failures = findFailures();
  $("verdict").className = failures.length ? "bad" : "good";
  $("verdict").textContent = failures.length ? `✕ ${failures.join(" · ")}` : "✓ Everything as asked, nothing lost";
  for (const record of records.filter((record) => record.tool?.limited)) {
    const why = record.tool.reason ? `: ${record.tool.reason}` : "";
    $("warnings").append(element("li", {}, `In the phase “${phaseName(record)}” the load generator, not the server, was the bottleneck${why}.`));
  }
}

function findFailures() {
  const missing = Math.max(0, highest(records.map(({ connections }) => connections.asked - connections.held - connections.lost)));
  const counts = [
    [sum((record) => record.lost), "messages lost"],
    [sum((record) => record.duplicated), "duplicated"],
    [sum((record) => record.out_of_order), "out of order"],
    [sum((record) => record.connections.lost), "connections lost"],
    [missing, "connections never reached"],
  ];
  return counts.filter(([number]) => number > 0).map(([number, what]) => `${count(number)} ${what}`);
}

function fillHeadline() {
  const held = highest(records.map(({ connections }) => connections.held));
  const asked = highest(records.map(({ connections }) => connections.asked));
  card("Connections held", headline(held), `of ${count(asked)} asked, ${count(sum((record) => record.connections.lost))} lost`);

  const { connect_s: took, held: reached } = first.connections;
  if (took > 0) card("Connected per second", count(reached / took), `all within ${seconds(took)}`);

  if (storm?.connections.connect_s > 0) card("Everybody back after", seconds(storm.connections.connect_s), "of the storm");

  const deliveries = sum((record) => record.deliveries);
  if (deliveries) {
    const order = sum((record) => record.out_of_order);
    card("Deliveries", headline(deliveries), `${count(sum((record) => record.lost))} lost, ${count(sum((record) => record.duplicated))} duplicated, ${count(order)} out of order`);
  }
  const latency = main.latency_us;
  if (latency?.count) {
    const what = { connect: "Time to connect", reconnect: "Latency during the storm" }[main.phase] ?? "Latency";
    card(`${what}, p99`, micros(latency.p99), `p50 ${micros(latency.p50)}, max ${micros(latency.max)}`);
  }
  if (main.server?.cpu_s_per_million != null) {
    const per = { fanout: "deliveries", connect: "connects", reconnect: "connects" }[main.phase] ?? "messages";
    card(`Server CPU per million ${per}`, `${digits(main.server.cpu_s_per_million)}\u00a0s`, `${digits(main.server.cores)} cores busy`);
  } else if (main.server) {
    card("Server CPU", `${digits(main.server.cores)}\u00a0cores`, `in the phase ${main.phase}`);
  }
  const memory = last(records.filter((record) => record.server?.rss_bytes_per_connection != null));
  if (memory) {
    const kernel = memory.kernel_bytes_per_connection;
    const beside = kernel == null ? "user space" : `user space, and ${bytes(kernel)} in the kernel`;
    card("Memory per connection", bytes(memory.server.rss_bytes_per_connection), beside);
  }
  const cards = $("headline").childElementCount;
  $("headline").className = cards === 4 || cards > 6 ? "four" : "";
}

function card(name, value, detail) {
  const [number, unit] = value.split("\u00a0");
  const shown = element("div", { class: "value" }, number);
  if (unit) shown.append(element("small", {}, unit));
  $("headline").append(element("div", { class: "figure-card" }, element("h3", {}, name), shown, element("p", {}, detail)));
}

function fillCharts() {
  const list = [percentileChart()];
  if (samples.length > 1) list.push(connectionsChart(), memoryChart(), cpuChart(), deliveriesChart());
  $("charts").append(...list.filter(Boolean));
  // The last of an odd number does not leave a hole beside it.
  const halves = document.querySelectorAll("figure:not(.wide)");
  if (halves.length % 2) last([...halves]).classList.add("wide");
}

function percentileChart() {
  if (!measured.length) return null;
  // Opening connections is the backdrop; what the run is about has the first colour.
  const ordered = [...measured].sort((a, b) => (a.phase === "connect") - (b.phase === "connect"));
  const series = ordered.map((record) => ({ name: phaseName(record), points: percentileCurve(record.latency_us) }));
  const all = series.flatMap(({ points }) => points);
  const [low, high] = [lowest(all.map(([, us]) => us)), highest(all.map(([, us]) => us))];
  const most = highest(all.map(([x]) => x));
  return chart({
    title: "Latency by percentile",
    note: series.length === 1 ? `Phase ${series[0].name}` : "",
    wide: true,
    height: 360,
    upright: true,
    series,
    x: () => nines("percentile", most),
    y: () => logarithmic("latency, logarithmic", Math.max(low, 1), Math.max(high, 2), micros),
    at: (x) => (x < most ? percentile(1 - 10 ** -x) : "max"),
    value: (us) => micros(us),
  });
}

// A step per bucket: every share of the messages that the bucket holds took at most its value.
function percentileCurve(latency) {
  const total = latency.histogram.reduce((all, [, times]) => all + times, 0);
  const points = [];
  let seen = 0;
  for (const [us, times] of latency.histogram) {
    // The very last message stands half a message before 100 %, which lies at infinity.
    const share = (rest) => Math.log10(total / Math.max(rest, 0.5));
    points.push([share(total - seen), us], [share(total - seen - times), us]);
    seen += times;
  }
  return points;
}

function timeChart(title, series, y, value, note) {
  const shown = series.filter(({ points }) => points.some(([, number]) => number > 0));
  if (!shown.length) return null;
  const end = last(samples).t_ms / 1000;
  const bands = phaseBands(end);
  const phaseAt = (x) => bands.find(({ from, to }) => x >= from && x <= to)?.name;
  return chart({
    title,
    note,
    height: 260,
    series: shown.map((one) => ({ ...one, area: shown.length === 1 })),
    x: (wanted) => clock("time since the start", end, wanted),
    y: () => y(highest(shown.flatMap(({ points }) => points.map(([, number]) => number)))),
    bands,
    at: (x) => [moment(x), phaseAt(x)].filter(Boolean).join(" · "),
    value,
  });
}

function phaseBands(end) {
  const starts = records.filter(({ timeline }) => timeline?.length).map((record) => ({ name: phaseName(record), from: record.timeline[0].t_ms / 1000 }));
  return starts.map((band, index) => ({ ...band, to: starts[index + 1]?.from ?? end }));
}

// A field of every sample that has it.
function over(field, from = 0) {
  return samples.filter((sample) => sample[field] != null).map((sample) => [sample.t_ms / 1000, sample[field] - from]);
}

// A running total as what was added per second.
function rate(field) {
  const rates = [];
  let before = null;
  for (const sample of over(field)) {
    if (before && sample[0] - before[0] < RATE_OVER_S) continue;
    if (before) rates.push([sample[0], Math.max(0, sample[1] - before[1]) / (sample[0] - before[0])]);
    before = sample;
  }
  return rates;
}

function connectionsChart() {
  const series = [{ name: "connections", points: over("connections") }];
  return timeChart("Connections", series, (max) => upwards("open connections", max, alike(COUNTS)), count);
}

function memoryChart() {
  // From its lowest: sockets of an earlier run may still be freed while this one begins.
  const slab = lowest(over("slab_bytes").map(([, size]) => size));
  const series = [
    { name: "server", points: over("server_rss") },
    { name: "kernel, grown by", points: over("slab_bytes", slab) },
    { name: "load generator", points: over("tool_rss") },
  ];
  return timeChart("Memory", series, (max) => upwards("resident; kernel: slab of both ends", max, alike(SIZES), { unit: sizeUnit }), (size) => bytes(size));
}

function cpuChart() {
  const series = [{ name: "server", points: rate("server_cpu_s") }];
  const axis = (max) => upwards("cores busy", max, () => (cores) => digits(cores, true), { least: 0.1 });
  return timeChart("Server CPU", series, axis, (cores) => `${digits(cores)} cores`);
}

function deliveriesChart() {
  const series = [{ name: "deliveries", points: rate("deliveries") }];
  return timeChart("Deliveries per second", series, (max) => upwards("per second", max, alike(COUNTS)), (number) => `${count(number)} /s`);
}

function fillPhases() {
  const zero = (number) => [count(number), number > 0];
  const groups = [
    ["", [["Duration", (r) => seconds(r.duration_s)], ["Loop", (r) => r.loop ?? ABSENT]]],
    ["Connections", [
      ["held / asked", (r) => [`${count(r.connections.held)} / ${count(r.connections.asked)}`, r.connections.held < r.connections.asked]],
      ["lost", (r) => zero(r.connections.lost)],
      ["refused", (r) => zero(r.connections.refused)],
    ]],
    ["Messages", [
      ["sent", (r) => count(r.messages)],
      ["delivered", (r) => count(r.deliveries)],
      ["lost", (r) => zero(r.lost)],
      ["duplicated", (r) => zero(r.duplicated)],
      ["out of order", (r) => zero(r.out_of_order)],
    ]],
    ["Latency", ["p50", "p90", "p99", "p99_9", "p99_99", "max"].map((name) => [name.replace("_", "."), (r) => micros(r.latency_us?.[name])])],
    ["Server", [
      ["CPU", (r) => seconds(r.server?.cpu_s)],
      ["CPU per million", (r) => seconds(r.server?.cpu_s_per_million)],
      ["cores busy", (r) => (r.server ? digits(r.server.cores) : ABSENT)],
      ["resident", (r) => bytes(r.server?.rss_bytes)],
      ["user space per connection", (r) => bytes(r.server?.rss_bytes_per_connection)],
      ["kernel per connection", (r) => bytes(r.kernel_bytes_per_connection)],
    ]],
    ["Load generator", [
      ["busiest worker", (r) => (r.tool?.busiest_worker == null ? ABSENT : `${Math.round(r.tool.busiest_worker * 100)}\u00a0%`)],
      ["sent late, p99", (r) => micros(r.tool?.lag_us?.p99)],
    ]],
  ];
  const errors = [...new Set(records.flatMap((record) => Object.keys(record.errors ?? {})))];
  if (errors.length) groups.push(["Errors", errors.map((code) => [code, (r) => zero(r.errors?.[code] ?? 0)])]);

  const head = element("tr", {}, element("th", {}, ""), ...records.map((record) => element("th", { scope: "col" }, phaseName(record))));
  const body = element("tbody");
  for (const [name, rows] of groups) {
    const lines = rows.map((row) => phaseRow(...row)).filter(Boolean);
    if (name && lines.length) {
      const heading = element("th", { scope: "rowgroup" }, name);
      body.append(element("tr", { class: "group" }, heading, element("td", { colspan: records.length })));
    }
    body.append(...lines);
  }
  $("phases").append(element("thead", {}, head), body);
  const fit = () => fitColumns(head);
  fit();
  window.addEventListener("resize", fit);
}

// Where the table is wider than the screen, a whole number of columns fills what the names leave, so that no value is cut
// wherever it is scrolled to; it begins with the phase that the run is about, and the heading says that there are more.
function fitColumns(head) {
  const [names, ...columns] = head.children;
  const box = $("phases").parentElement;
  const widen = (px) => columns.forEach((column) => (column.style.minWidth = px && `${px}px`));
  widen("");
  $("beside").textContent = "";
  if (box.scrollWidth <= box.clientWidth) return;
  const room = box.clientWidth - names.offsetWidth;
  const widest = highest(columns.map((column) => column.offsetWidth));
  const shown = Math.max(1, Math.floor(room / widest));
  widen(room / shown);
  $("beside").textContent = `${shown} of ${columns.length}, swipe for others`;
  box.style.scrollPaddingLeft = `${names.offsetWidth}px`;
  box.scrollLeft = columns[records.indexOf(main)].offsetLeft - names.offsetWidth;
}

// Nothing when no phase has a value.
function phaseRow(name, read) {
  const values = records.map((record) => [read(record)].flat());
  if (values.every(([text]) => text === ABSENT)) return null;
  const cells = values.map(([text, bad]) => element("td", bad ? { class: "bad" } : {}, text));
  return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
}

function fillRun() {
  const { tool, host } = first;
  entry("Arguments", element("code", {}, `ringway-flood ${first.arguments.join(" ")}`));
  entry("Kernel", `Linux ${host.kernel}`);
  entry("Cores and memory", `${host.cores} cores, ${bytes(host.memory_bytes)}`);
  entry("Open files allowed", count(host.nofile));
  entry("Version", [`ringway-flood ${tool.version}`, tool.commit && `commit ${tool.commit}`].filter(Boolean).join(", "));
  entry("Workers of the load generator", count(tool.workers));
  entry("Started", new Date(first.started_unix_ms).toISOString());
}

function entry(name, value) {
  $("run").append(element("dt", {}, name), element("dd", {}, value));
}
