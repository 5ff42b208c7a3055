// One chart: axes, bands, curves, and a reading of the values under the pointer. Redrawn at the real width, so that type
// keeps its size on a phone. Knows nothing of what it shows.
//
// spec: { title, note, wide, upright (lines at the ticks of x), height, bands: [{ name, from, to }],
//         series: [{ name, points: [[x, y]], tone, area, last }]; where y is null, or x is more than `gap` behind the one before,
//         the curve breaks; `last` is told beside the name,
//         x(wanted) and y(): axes of scale.js, at(x): how the reading names its place, value(y): how it names a value,
//         together: a list that several charts share, to be read at the same place }

// Told apart without colour, too.
const DASHES = ["none", "7 5", "2 5", "12 4 2 4", "4 3"];
const SVG = document.querySelector("svg").namespaceURI;
const ruler = document.createElement("canvas").getContext("2d");

// Text is only ever set as text, never as markup: names come from clients.
function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function width(text) {
  ruler.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

function colour(series, index) {
  return `var(--s${(series.tone ?? index) % 5})`;
}

function stroke(series, index) {
  return { class: "curve", stroke: colour(series, index), "stroke-dasharray": DASHES[index % 5] };
}

function key(series, index) {
  const svg = shape("svg", { class: "key", viewBox: "0 0 22 4", "aria-hidden": "true" });
  svg.append(shape("line", { ...stroke(series, index), x1: 1, x2: 21, y1: 2, y2: 2 }));
  return svg;
}

// A figure; its method `update` takes what has changed of the spec and draws it again. Without axes nothing is drawn.
function chart(spec) {
  const legend = element("ul", { class: "legend" });
  const caption = element("figcaption", {}, element("h3", {}, spec.title), legend);
  if (spec.note) caption.append(element("p", {}, spec.note));
  const plot = element("div", { class: "plot", tabindex: 0, role: "img" });
  plot.style.minHeight = `${spec.height}px`;
  const figure = element("figure", spec.wide ? { class: "wide" } : {}, caption, plot);
  const together = spec.together ?? [];
  // Between 0 and 1 while somebody reads, over all redrawings.
  let place = null;
  let drawing = null;
  const read = (share) => {
    place = share;
    drawing?.read(share);
  };
  together.push(read);
  const redraw = () => {
    if (!plot.clientWidth || !spec.x) return;
    if (spec.series.length > 1) legend.replaceChildren(...spec.series.map(legendEntry));
    plot.setAttribute("aria-label", summary(spec));
    drawing = draw(plot, spec, plot.clientWidth);
    drawing.read(place);
  };
  let drawn = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth === drawn) return;
    drawn = plot.clientWidth;
    redraw();
  }).observe(plot);
  listen(plot, () => drawing, () => place, (share) => together.forEach((one) => one(share)));
  figure.update = (changes) => {
    Object.assign(spec, changes);
    redraw();
  };
  return figure;
}

function legendEntry(series, index) {
  const entry = element("li", {}, key(series, index), series.name);
  if (series.last !== undefined) entry.append(element("b", {}, series.last));
  return entry;
}

// The pointer, or the arrow keys when the chart has the focus, choose one place of the x axis.
function listen(plot, drawing, place, choose) {
  const clamped = (share) => Math.min(1, Math.max(0, share));
  const onPointer = (event) => {
    if (!drawing()) return;
    const { left, right } = drawing().box;
    choose(clamped((event.clientX - plot.getBoundingClientRect().left - left) / (right - left)));
  };
  plot.addEventListener("pointermove", onPointer);
  plot.addEventListener("pointerdown", onPointer);
  plot.addEventListener("pointerleave", () => choose(null));
  plot.addEventListener("blur", () => choose(null));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (event.key === "Escape") choose(null);
    if (!step) return;
    event.preventDefault();
    choose(clamped((place() ?? 0.5) + step));
  });
}

function draw(plot, spec, total) {
  const x = spec.x(Math.max(3, Math.floor(total / 110)));
  const y = spec.y();
  const left = Math.ceil(Math.max(...y.ticks.map((tick) => width(y.text(tick, true))))) + 10;
  const box = { left, right: total - 14, top: spec.bands || y.label ? 34 : 10, bottom: spec.height - (x.label ? 38 : 24) };
  const px = (value) => box.left + x.position(value) * (box.right - box.left);
  const py = (value) => box.bottom - y.position(value) * (box.bottom - box.top);

  const svg = shape("svg", { height: spec.height, "aria-hidden": "true" });
  drawBands(svg, spec.bands ?? [], box, px);
  drawAxes(svg, spec, x, y, box, px, py, total);
  const seen = spec.series.map((series) => ({ ...series, points: inside(series.points, x) }));
  seen.forEach((series, index) => drawCurve(svg, series, index, box, px, py, spec.gap));
  const tip = element("div", { class: "tip", hidden: "" });
  plot.replaceChildren(svg, tip);
  return { box, read: reader(svg, tip, spec, seen, box, x, px, py) };
}

function inside(points, x) {
  return points.filter(([at]) => at >= x.from && at <= x.to);
}

function drawBands(svg, bands, box, px) {
  bands.forEach((band, index) => {
    const [from, to] = [px(band.from), px(band.to)];
    const size = { x: from, y: box.top - 18, width: Math.max(0, to - from), height: box.bottom - box.top + 18 };
    if (index % 2 === 0) svg.append(shape("rect", { class: "band", ...size }));
    // A phase too short for its name is named by the reading.
    if (to - from >= width(band.name) + 8) svg.append(shape("text", { x: from + 5, y: box.top - 5 }, band.name));
  });
}

function drawAxes(svg, spec, x, y, box, px, py, total) {
  svg.append(shape("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  for (const tick of y.ticks) {
    if (tick !== y.from) svg.append(shape("line", { class: "grid", x1: box.left, x2: box.right, y1: py(tick), y2: py(tick) }));
    svg.append(shape("text", { x: box.left - 8, y: py(tick) + 4, "text-anchor": "end" }, y.text(tick, true)));
  }
  let taken = -Infinity;
  for (const tick of x.ticks) {
    const text = x.text(tick);
    const half = width(text) / 2;
    const middle = Math.min(Math.max(px(tick), half), total - half);
    const from = spec.upright && tick !== x.from ? box.top : box.bottom;
    svg.append(shape("line", { class: "grid", x1: px(tick), x2: px(tick), y1: from, y2: box.bottom }));
    svg.append(shape("line", { class: "axis", x1: px(tick), x2: px(tick), y1: box.bottom, y2: box.bottom + 5 }));
    if (middle - half < taken + 10) continue;
    taken = middle + half;
    svg.append(shape("text", { x: middle, y: box.bottom + 18, "text-anchor": "middle" }, text));
  }
  svg.append(shape("text", { x: 0, y: 11 }, y.label));
  svg.append(shape("text", { x: box.right, y: box.bottom + 34, "text-anchor": "end" }, x.label));
}

// The runs of a curve: it breaks where nothing is known.
function runs(points, gap = Infinity) {
  const list = [];
  let before = -Infinity;
  for (const point of points) {
    if (point[1] == null) {
      before = -Infinity;
      continue;
    }
    if (point[0] - before <= gap && before !== -Infinity) list[list.length - 1].push(point);
    else list.push([point]);
    before = point[0];
  }
  return list;
}

// A path through one run. A line of no length is a dot: a point that stands alone is seen.
function pathOf(run, px, py) {
  const path = "M" + run.map(([x, y]) => px(x).toFixed(1) + " " + py(y).toFixed(1)).join("L");
  return run.length > 1 ? path : path + "h0";
}

function areaOf(run, px, py, bottom) {
  return `${pathOf(run, px, py)}L${px(run[run.length - 1][0]).toFixed(1)} ${bottom}L${px(run[0][0]).toFixed(1)} ${bottom}Z`;
}

function drawCurve(svg, series, index, box, px, py, gap) {
  const parts = runs(series.points, gap);
  if (series.area) {
    const closed = parts.filter((run) => run.length > 1).map((run) => areaOf(run, px, py, box.bottom)).join("");
    svg.append(shape("path", { class: "area", fill: colour(series, index), d: closed }));
  }
  svg.append(shape("path", { ...stroke(series, index), d: parts.map((run) => pathOf(run, px, py)).join("") }));
}

// Shows the values at a place between 0 and 1; at none when it is null.
function reader(svg, tip, spec, seen, box, x, px, py) {
  const marks = shape("g", {});
  svg.append(marks);
  const known = seen.map((series) => series.points.filter(([, y]) => y != null));
  const hide = () => {
    tip.hidden = true;
    marks.replaceChildren();
  };
  return (place) => {
    if (place === null) return hide();
    const found = known.map((points) => nearest(points, x, place));
    const reached = found.filter(Boolean);
    if (!reached.length) return hide();
    const at = reached.reduce((a, b) => (distance(a, x, place) <= distance(b, x, place) ? a : b))[0];
    marks.replaceChildren(shape("line", { class: "cross", x1: px(at), x2: px(at), y1: box.top, y2: box.bottom }));
    tip.replaceChildren(element("b", {}, spec.at(at)));
    found.forEach((point, index) => {
      // A curve that ended before this place has nothing to say here.
      if (!point || Math.abs(px(point[0]) - px(at)) > 12) return;
      const series = seen[index];
      marks.append(shape("circle", { class: "spot", fill: colour(series, index), cx: px(point[0]), cy: py(point[1]), r: 5 }));
      tip.append(element("div", {}, key(series, index), element("span", {}, series.name), element("span", {}, spec.value(point[1]))));
    });
    tip.hidden = false;
    const beside = px(at) + 14 + tip.offsetWidth <= box.right + 14 ? px(at) + 14 : px(at) - 14 - tip.offsetWidth;
    tip.style.transform = `translate(${Math.max(0, beside)}px, ${box.top + 6}px)`;
  };
}

function distance(point, x, place) {
  return Math.abs(x.position(point[0]) - place);
}

function nearest(points, x, place) {
  if (!points.length) return null;
  let low = 0;
  let high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x.position(points[middle][0]) < place) low = middle + 1;
    else high = middle;
  }
  if (x.at) {
    const reached = x.position(points[low][0]) >= place && x.position(points[0][0]) <= place;
    return reached ? [x.at(place), points[low][1]] : points[low];
  }
  const before = points[Math.max(0, low - 1)];
  return distance(before, x, place) < distance(points[low], x, place) ? before : points[low];
}

// For those who hear the page: the peak and the end of every curve.
function summary(spec) {
  const told = spec.series.map(({ name, points }) => ({ name, points: points.filter(([, y]) => y != null) }));
  const parts = told.filter(({ points }) => points.length).map(({ name, points }) => {
    const top = points.reduce((a, b) => (b[1] > a[1] ? b : a));
    const last = points[points.length - 1];
    return `${name}: highest ${spec.value(top[1])} at ${spec.at(top[0])}, last ${spec.value(last[1])}`;
  });
  return `${spec.title}. ${parts.join(". ")}`;
}
