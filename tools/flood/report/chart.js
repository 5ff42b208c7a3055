// One chart: axes, phases as bands, curves, and a reading of the values under the pointer. Redrawn at the real width, so
// that type keeps its size on a phone. Knows nothing of the run.
//
// spec: { title, note, wide, upright (lines at the ticks of x), height, series: [{ name, points: [[x, y]], area }], x(wanted) and y(): axes of scale.js,
//         bands: [{ name, from, to }], at(x): how the reading names its place, value(y): how it names a value }

// Told apart without colour, too.
const DASHES = ["none", "7 5", "2 5", "12 4 2 4", "4 3"];
const SVG = document.querySelector("svg").namespaceURI;
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const ruler = document.createElement("canvas").getContext("2d");

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
  ruler.font = FONT;
  return ruler.measureText(text).width;
}

function stroke(index) {
  return { class: "curve", stroke: `var(--s${index % 5})`, "stroke-dasharray": DASHES[index % 5] };
}

function key(index) {
  const svg = shape("svg", { class: "key", viewBox: "0 0 22 4", "aria-hidden": "true" });
  svg.append(shape("line", { ...stroke(index), x1: 1, x2: 21, y1: 2, y2: 2 }));
  return svg;
}

function chart(spec) {
  const legend = element("ul", { class: "legend" });
  if (spec.series.length > 1) {
    spec.series.forEach((series, index) => legend.append(element("li", {}, key(index), series.name)));
  }
  const caption = element("figcaption", {}, element("h3", {}, spec.title), legend);
  if (spec.note) caption.append(element("p", {}, spec.note));
  const plot = element("div", { class: "plot" });
  const figure = element("figure", spec.wide ? { class: "wide" } : {}, caption, plot);
  let drawn = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth === drawn) return;
    drawn = plot.clientWidth;
    draw(plot, spec, drawn);
  }).observe(plot);
  return figure;
}

function draw(plot, spec, total) {
  const x = spec.x(Math.max(3, Math.floor(total / 110)));
  const y = spec.y();
  const left = Math.ceil(Math.max(...y.ticks.map((tick) => width(y.text(tick, true))))) + 10;
  const box = { left, right: total - 14, top: 34, bottom: spec.height - 38 };
  const px = (value) => box.left + x.position(value) * (box.right - box.left);
  const py = (value) => box.bottom - y.position(value) * (box.bottom - box.top);

  const svg = shape("svg", { height: spec.height, tabindex: 0, role: "img", "aria-label": summary(spec) });
  drawBands(svg, spec.bands ?? [], box, px);
  drawAxes(svg, spec, x, y, box, px, py, total);
  spec.series.forEach((series, index) => drawCurve(svg, series, index, box, px, py));
  const tip = element("div", { class: "tip", hidden: "" });
  plot.replaceChildren(svg, tip);
  readUnderPointer(svg, tip, spec, box, x, px, py);
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

function drawCurve(svg, series, index, box, px, py) {
  if (!series.points.length) return;
  const path = "M" + series.points.map(([x, y]) => px(x).toFixed(1) + " " + py(y).toFixed(1)).join("L");
  if (series.area) {
    const last = series.points[series.points.length - 1];
    const closed = `${path}L${px(last[0]).toFixed(1)} ${box.bottom}L${px(series.points[0][0]).toFixed(1)} ${box.bottom}Z`;
    svg.append(shape("path", { class: "area", fill: `var(--s${index % 5})`, d: closed }));
  }
  svg.append(shape("path", { ...stroke(index), d: path }));
}

// The pointer, or the arrow keys when the chart has the focus, read the values at one place of the x axis.
function readUnderPointer(svg, tip, spec, box, x, px, py) {
  const marks = shape("g", {});
  svg.append(marks);
  let place = null;
  const hide = () => {
    tip.hidden = true;
    marks.replaceChildren();
  };
  const show = (share) => {
    place = Math.min(1, Math.max(0, share));
    const found = spec.series.map((series) => nearest(series.points, x, place));
    const reached = found.filter(Boolean);
    if (!reached.length) return hide();
    const at = reached.reduce((a, b) => (distance(a, x, place) <= distance(b, x, place) ? a : b))[0];
    marks.replaceChildren(shape("line", { class: "cross", x1: px(at), x2: px(at), y1: box.top, y2: box.bottom }));
    tip.replaceChildren(element("b", {}, spec.at(at)));
    found.forEach((point, index) => {
      // A curve that ended before this place has nothing to say here.
      if (!point || Math.abs(px(point[0]) - px(at)) > 12) return;
      marks.append(shape("circle", { class: "spot", fill: `var(--s${index % 5})`, cx: px(point[0]), cy: py(point[1]), r: 5 }));
      const row = element("div", {}, key(index), element("span", {}, spec.series[index].name), element("span", {}, spec.value(point[1])));
      tip.append(row);
    });
    tip.hidden = false;
    const beside = px(at) + 14 + tip.offsetWidth <= box.right + 14 ? px(at) + 14 : px(at) - 14 - tip.offsetWidth;
    tip.style.transform = `translate(${Math.max(0, beside)}px, ${box.top + 6}px)`;
  };
  const onPointer = (event) => show((event.clientX - svg.getBoundingClientRect().left - box.left) / (box.right - box.left));
  svg.addEventListener("pointermove", onPointer);
  svg.addEventListener("pointerdown", onPointer);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    show((place ?? 0.5) + step);
  });
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

// For those who hear the page: the ends and the peak of every curve.
function summary(spec) {
  const parts = spec.series.filter(({ points }) => points.length).map(({ name, points }) => {
    const top = points.reduce((a, b) => (b[1] > a[1] ? b : a));
    const last = points[points.length - 1];
    return `${name}: highest ${spec.value(top[1])} at ${spec.at(top[0])}, last ${spec.value(last[1])}`;
  });
  return `${spec.title}. ${parts.join(". ")}`;
}
