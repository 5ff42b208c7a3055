// Numbers as people read them: every function takes a number (or null) and returns text with its unit, which a no-break
// space sets off.

const ABSENT = "–";
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function count(number) {
  return number == null ? ABSENT : grouped.format(number);
}

// One user, two users.
function counted(number, one, many = one + "s") {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// A count in large type: whole as long as it is short.
function headline(number) {
  return number < 1e7 ? count(number) : scaled(number, COUNTS);
}

// Three significant digits; zeros at the end only where columns are compared, not on axes.
function digits(number, plain) {
  if (plain) return String(Number(number.toPrecision(3)));
  if (number === 0) return "0";
  return number < 10 ? number.toFixed(2) : number < 100 ? number.toFixed(1) : grouped.format(number);
}

function scaled(number, units, plain) {
  if (number == null) return ABSENT;
  const [size, unit] = unitOf(number, units);
  return digits(number / size, plain) + (unit ? "\u00a0" + unit : "");
}

// The largest unit in which the number is at least one, also after rounding; the first for what is smaller.
function unitOf(number, units) {
  return units.filter(([size]) => Math.abs(number) >= size * 0.9995).pop() ?? units[0];
}

// How the ticks of an axis that ends at `top` read: all in the unit of the last one.
function alike(units) {
  return (top) => {
    const unit = unitOf(top, units);
    return (tick) => scaled(tick, tick ? [unit] : [[1, ""]], true);
  };
}

const TIMES = [[1, "µs"], [1e3, "ms"], [1e6, "s"]];
const SIZES = [[1, "B"], [1024, "KiB"], [1024 ** 2, "MiB"], [1024 ** 3, "GiB"], [1024 ** 4, "TiB"]];
const COUNTS = [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"]];

// Single microseconds are whole.
function micros(us, plain) {
  if (us == null) return ABSENT;
  return Math.abs(us) < 1000 ? Math.round(us) + "\u00a0µs" : scaled(us, TIMES, plain);
}

// So are single bytes.
function bytes(size, plain) {
  if (size == null) return ABSENT;
  return Math.abs(size) < 1024 ? Math.round(size) + "\u00a0B" : scaled(size, SIZES, plain);
}

function shortCount(number) {
  return scaled(number, COUNTS, true);
}

function seconds(s) {
  if (s == null) return ABSENT;
  if (s < 120) return digits(s) + "\u00a0s";
  const minutes = Math.floor(Math.round(s) / 60);
  const rest = Math.round(s) % 60;
  return minutes + "\u00a0min" + (rest ? "\u00a0" + rest + "\u00a0s" : "");
}

// A moment of a run; seconds keep the sample's tenths.
function moment(s) {
  return s < 120 ? Number(s.toFixed(1)) + "\u00a0s" : seconds(s);
}

function percentile(quantile) {
  if (quantile >= 1) return "max";
  // As many nines as the quantile has, and one more digit.
  const places = Math.max(0, Math.ceil(-Math.log10(1 - quantile) - 1e-9) - 1);
  return Number((quantile * 100).toFixed(Math.min(places, 8))) + "\u00a0%";
}
