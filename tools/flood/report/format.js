// Numbers as people read them: every function takes a number (or null) and returns text with its unit.

const ABSENT = "–";
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function count(number) {
  return number == null ? ABSENT : grouped.format(number);
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
  // The largest unit in which the number is at least one, also after rounding; the first for what is smaller.
  const fits = units.filter(([size]) => Math.abs(number) >= size * 0.9995);
  const [size, unit] = fits.length ? fits[fits.length - 1] : units[0];
  return digits(number / size, plain) + (unit ? "\u00a0" + unit : "");
}

const TIMES = [[1, "µs"], [1e3, "ms"], [1e6, "s"]];
const SIZES = [[1, "B"], [1024, "KiB"], [1024 ** 2, "MiB"], [1024 ** 3, "GiB"]];
const COUNTS = [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"]];

function micros(us, plain) {
  return us === 0 ? "0 µs" : scaled(us, TIMES, plain);
}

function bytes(size, plain) {
  if (size == null) return ABSENT;
  // Single bytes are whole.
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

// A moment of the run; seconds keep the sample's tenths.
function moment(s) {
  return s < 120 ? Number(s.toFixed(1)) + "\u00a0s" : seconds(s);
}

function percentile(quantile) {
  if (quantile >= 1) return "max";
  // As many nines as the quantile has, and one more digit.
  const places = Math.max(0, Math.ceil(-Math.log10(1 - quantile) - 1e-9) - 1);
  return Number((quantile * 100).toFixed(Math.min(places, 8))) + "\u00a0%";
}
