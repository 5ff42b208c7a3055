// Axes: where a value stands between 0 and 1, which values get a tick, and how a tick reads.

// Steps of 1, 2 or 5 times a power of ten, about `wanted` of them.
function niceStep(span, wanted) {
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  return factor * power;
}

function steps(from, to, step) {
  const ticks = [];
  for (let index = Math.ceil(from / step - 1e-9); index * step <= to + step * 1e-6; index++) ticks.push(index * step);
  return ticks;
}

// From zero to a tick at or above `max`. `text(top)` is how its ticks read; `unit` makes sizes step in their own units
// (1024 and not 1000).
function upwards(label, max, text, { wanted = 4, unit = () => 1, least = 1 } = {}) {
  const size = unit(Math.max(max, least));
  const step = niceStep(Math.max(max, least) / size, wanted) * size;
  const top = Math.ceil(Math.max(max, least) / step - 1e-9) * step;
  return { label, text: text(top), from: 0, to: top, ticks: steps(0, top, step), position: (value) => value / top };
}

const sizeUnit = (max) => 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(max, 1)) / 10));

const CLOCK_STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];

// Seconds in steps that clocks have: all in seconds, or all in minutes.
function clockTicks(length, wanted) {
  const minutes = length >= 120;
  const step = CLOCK_STEPS.find((step) => step >= length / wanted && (!minutes || step % 30 === 0)) ?? length;
  const text = (s) => (minutes ? `${s / 60}\u00a0min` : `${s}\u00a0s`);
  return { ticks: steps(0, length, step), text };
}

// The time of a run.
function clock(label, to, wanted) {
  const { ticks, text } = clockTicks(to, wanted);
  return { label, text: (s) => (s ? text(s) : "0"), from: 0, to, ticks, position: (value) => (to ? value / to : 0) };
}

// The time until now: `length` seconds that end at `until`.
function backwards(until, length, wanted) {
  const { ticks, text } = clockTicks(length, wanted);
  const from = until - length;
  return {
    label: "",
    text: (at) => (at === until ? "now" : `−${text(Math.round((until - at) * 10) / 10)}`),
    from,
    to: until,
    ticks: ticks.map((back) => until - back).reverse(),
    position: (at) => (at - from) / length,
  };
}

// A logarithm between ticks of 1, 2 and 5; finer where everything lies close together.
function logarithmic(label, min, max, text) {
  const fine = max / min < 8;
  const factors = fine ? [1, 1.5, 2, 3, 4, 5, 6, 8] : [1, 2, 5];
  const all = [];
  for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power++) {
    for (const factor of factors) all.push(factor * 10 ** power);
  }
  const below = all.filter((tick) => tick <= min * 1.0001).pop();
  const above = all.find((tick) => tick >= max * 0.9999) ?? all[all.length - 1];
  let ticks = all.filter((tick) => tick >= below && tick <= above);
  if (ticks.length > 9) ticks = ticks.filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6));
  const span = Math.log(above / below) || 1;
  return { label, text, from: below, to: above, ticks, position: (value) => Math.log(Math.max(value, below) / below) / span };
}

// The axis of HDR plots: every further nine takes as much room as the one before. Curves on it are steps with a value at
// every place, which `at` names.
function nines(label, most) {
  const to = Math.max(1, Math.ceil(most * 2) / 2);
  const ticks = [0, Math.log10(2)];
  for (let nine = 1; nine <= to; nine++) ticks.push(nine);
  return { label, text: (x) => percentile(1 - 10 ** -x), from: 0, to, ticks, position: (x) => x / to, at: (place) => place * to };
}
