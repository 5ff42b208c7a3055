// What the dashboard says: asks for the numbers every second and fills the document.

const root = document.documentElement;
const failed = () => { root.dataset.errors = Number(root.dataset.errors) + 1; };
addEventListener('error', failed);
addEventListener('unhandledrejection', failed);

const PERIOD_MS = 1000;
const TOKEN = 'ringway.token', THEME = 'ringway.theme', SPAN = 'ringway.span';
const byId = id => document.getElementById(id);
/* What has come of each span, oldest first; where a point is more than gap_s behind the one before, curves break. */
const SPANS = {
  minutes: { points: [], max: 300, span_s: 300, least_s: 60, gap_s: 5 },
  hour: { points: [], max: 360, span_s: 3600, least_s: 600, gap_s: 25 },
};
let span = SPANS.minutes;
const latest = () => SPANS.minutes.points.at(-1) ?? {};

/* Numbers with units */
const large = n => n < 100000 ? count(Math.round(n)) : shortCount(n);
const rate = n => n == null ? ABSENT : (n > 0 && n < 10 ? n.toFixed(1) : large(n)) + '/s';
function ago(s) {
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min` : `${Math.floor(s)} s`;
}
const words = label => label.replaceAll('_', ' ');

function show(id, text, unit) {
  const children = [text];
  if (unit) children.push(element('small', {}, unit));
  byId(id).replaceChildren(...children);
}
/* "12.3 MiB" with its unit small. */
function showMeasure(id, text) {
  const at = text.search(/[\u00a0/]/);
  at < 0 ? show(id, text) : show(id, text.slice(0, at), text.slice(at).trim());
}

/* Curves: x is unix seconds */
const over = pick => span.points.map(point => [point.at / 1000, pick(point)]);
const until = () => latest().at / 1000;
const spanS = () => Math.min(span.span_s, Math.max(span.least_s, until() - span.points[0].at / 1000));
const time = at => new Date(at * 1000).toLocaleTimeString();
const together = [];
const CHARTS = {
  rates: { title: 'Messages per second', value: rate, axis: upFrom, lines: [['in', 'received', 0], ['out', 'sent', 1]] },
  latency: { title: 'Delivery latency', value: micros, axis: decades,
    lines: [['p50', 'p50', 2], ['p99', 'p99', 3], ['p99.9', 'p99_9', 4]] },
};
for (const [id, one] of Object.entries(CHARTS)) {
  one.figure = chart({ title: one.title, height: 230, together, series: [], at: time, value: one.value });
  one.figure.id = id;
  byId('charts').append(one.figure);
}
byId('latency').querySelector('h3').title = 'From the arrival of a message until the kernel has taken it for one connection';

/* The known values that are in sight. */
function seen(lines) {
  const from = until() - spanS();
  const values = lines.flatMap(([, key]) => span.points.filter(p => p.at / 1000 >= from).map(p => p[key]));
  return values.filter(value => value != null);
}
function upFrom(values) {
  return upwards('', Math.max(4, ...values), alike(COUNTS), { wanted: 4 });
}
/* Powers of ten, at least two of them. */
function decades(values) {
  const low = Math.floor(Math.log10(Math.max(1, values.length ? Math.min(...values) : 10)));
  const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(10, ...values))));
  const ticks = Array.from({ length: high - low + 1 }, (_, n) => 10 ** (low + n));
  return { label: '', text: us => micros(us, true), from: ticks[0], to: ticks.at(-1), ticks,
    position: us => (Math.log10(Math.max(us, ticks[0])) - low) / (high - low) };
}
function drawCurves() {
  if (!span.points.length) return;
  for (const { figure, lines, value, axis } of Object.values(CHARTS)) {
    figure.update({
      gap: span.gap_s,
      series: lines.map(([name, key, tone]) => ({ name, tone, points: over(p => p[key]), last: value(latest()[key]) })),
      x: wanted => backwards(until(), spanS(), wanted),
      y: () => axis(seen(lines)),
    });
  }
  drawSpark('connections', p => p.connections, 0);
  drawSpark('received', p => p.received, 0);
  drawSpark('sent', p => p.sent, 1);
  drawSpark('p99', p => p.p99, 3);
  drawSpark('memory', latest().bytes_per_connection == null ? p => p.resident_bytes : p => p.bytes_per_connection, 2);
  drawSpark('cpu', p => p.cpu, 2);
}
function drawSpark(id, pick, tone) {
  const svg = byId(`spark-${id}`), width = svg.clientWidth || 150, height = 32, x = backwards(until(), spanS(), 1);
  const shown = inside(over(pick), x), values = shown.map(([, y]) => y).filter(y => y != null);
  if (values.length < 2) return svg.replaceChildren();
  const top = Math.max(...values) || 1, low = Math.min(...values);
  const bottom = low > top * .5 ? low - (top - low) * .6 - top * .02 : 0;
  const px = at => width * x.position(at), py = value => 29 - 25 * (value - bottom) / (top - bottom || 1);
  const parts = runs(shown, span.gap_s), color = `var(--s${tone})`;
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.replaceChildren(shape('path', { class: 'area', d: parts.map(run => areaOf(run, px, py, height)).join(''), fill: color }),
    shape('path', { class: 'curve', d: parts.map(run => pathOf(run, px, py)).join(''), stroke: color }));
}

/* Lists */
function rows(id, entries, none, tone) {
  const top = Math.max(1, ...entries.map(e => e.value));
  byId(id).replaceChildren(entries.length === 0 ? element('p', { class: 'none' }, none) : element('ul', { class: 'rows' },
    ...entries.map(e => {
      const name = element('span', { title: e.name }, e.name);
      if (e.kind) name.prepend(element('em', {}, `${e.kind} · `));
      const bar = element('i');
      bar.hidden = e.value === 0;
      bar.style.width = `${100 * e.value / top}%`;
      if (tone !== undefined) bar.style.setProperty('--tone', `var(--s${tone})`);
      return element('li', { class: 'row' }, name, element('b', {}, large(e.value)), element('div', {}, bar));
    })));
}
const entries = (counts, kind) => Object.entries(counts).map(([name, value]) => ({ name: words(name), value, kind }));
const largestFirst = (a, b) => b.value - a.value;
function showShards(shards) {
  const list = shards.map((shard, n) => ({ name: `shard ${n}`, value: shard.connections }));
  if (list.length <= 6) return rows('shards', list, 'No shards.');
  const top = Math.max(1, ...list.map(s => s.value));
  const values = list.map(s => s.value);
  const columns = element('div', { class: 'columns', role: 'img',
    'aria-label': list.map(s => `${s.name}: ${large(s.value)}`).join(', ') }, ...list.map(s => {
    const bar = element('div', { title: `${s.name}: ${large(s.value)}` });
    bar.style.height = `${100 * s.value / top}%`;
    return bar;
  }));
  byId('shards').replaceChildren(columns, element('p', { class: 'none' },
    `${list.length} shards, ${large(Math.min(...values))} to ${counted(top, 'connection')} each`));
}
const pillOf = ({ state }) => element('span', { class: `pill ${{ connected: 'good', connecting: 'warn', disconnected: 'bad' }[state]}` }, state);
const sinceWhen = ({ since }) => ago(Math.max(0, Date.now() / 1000 - since));
/* What came of something per second since the answer before, by name; not known at the first answer. */
const before = new Map();
function perSecond(name, total) {
  const last = before.get(name), at = performance.now();
  before.set(name, { total, at });
  return last && total >= last.total ? 1000 * (total - last.total) / (at - last.at) : null;
}
function showSources(sources) {
  byId('sources').replaceChildren(...sources.map(source => {
    const facts = source.keys == null ? [counted(source.messages, 'message'), rate(perSecond(`source ${source.name}`, source.messages))] : [];
    if (source.latency_us?.count) facts.push(`handed over in ${micros(source.latency_us.p50)}, p99 ${micros(source.latency_us.p99)}`);
    for (const [what, number] of [['invalid', source.invalid], ['lost', source.lost]]) if (number) facts.push(`${large(number)} ${what}`);
    facts.push(`for ${sinceWhen(source)}`, source.keys == null ? counted(source.reconnects, 'reconnect') : `${counted(source.keys, 'key')} held`);
    if (source.error) facts.push(`last error: ${source.error}`);
    return element('div', { class: 'source' }, element('strong', {}, source.name), pillOf(source),
      element('p', {}, facts.join(' · ')));
  }));
  if (!sources.length) byId('sources').replaceChildren(element('p', { class: 'none', style: 'margin:0' }, 'None configured. Messages come over HTTP, on this port.'));
}

/* A queue that is nearly full refuses somebody now and then. */
const isFull = service => service.waiting >= .9 * service.waiting_max;
function showServices(services) {
  const cell = (name, ...children) => element('td', { 'data-name': name }, ...children);
  byId('services').hidden = !services.length;
  byId('services').querySelector('tbody').replaceChildren(...services.map(service => {
    const name = element('th', { scope: 'row', title: service.name }, service.name, element('em', {}, ` · ${service.kind}`));
    const pill = pillOf(service);
    pill.title = [`for ${sinceWhen(service)}`, counted(service.reconnects, 'reconnect'), service.error].filter(Boolean).join(' · ');
    const fill = element('i');
    fill.style.width = `${Math.min(100, 100 * service.waiting / service.waiting_max)}%`;
    if (isFull(service)) fill.style.setProperty('--tone', 'var(--warn)');
    const { p50, p99, p99_9 } = service.latency_us;
    const failures = ['refused', 'failed', 'late'].filter(what => service[what]).map(what => `${large(service[what])} ${what}`);
    const failed = cell('Failures', failures.join(', ') || 'none');
    if (failures.length) failed.className = 'bad';
    return element('tr', {}, name, element('td', {}, pill),
      cell('Queue', large(service.waiting), element('small', {}, ` of ${large(service.waiting_max)}`), element('div', { class: 'fill' }, fill)),
      cell('Messages', rate(perSecond(`service ${service.name}`, service.calls ?? service.answered))),
      cell('p50', micros(p50)), cell('p99', micros(p99)), cell('p99.9', micros(p99_9)), failed);
  }));
}

function keep({ points, max }, more) {
  points.push(...more);
  points.splice(0, Math.max(0, points.length - max));
}
/* The process has memory of its own: only with many connections it says something to divide by them. */
function showMemory({ resident_bytes, bytes_per_connection }) {
  const divided = bytes_per_connection != null;
  byId('memory-title').textContent = divided ? 'Memory per connection' : 'Memory';
  showMeasure('memory', bytes(divided ? bytes_per_connection : resident_bytes));
  byId('memory-note').textContent = divided ? `${bytes(resident_bytes)} resident in all` : 'resident in all';
}

/* What was answered */
function render(now) {
  keep(SPANS.minutes, now.points);
  keep(SPANS.hour, now.hour);
  const last = latest();
  document.title = `${large(now.connections)} · Ringway ${now.server_id}`;
  byId('node').replaceChildren(element('b', {}, now.server_id), ` · version ${now.version} · up ${ago(now.uptime_s)}`);
  show('connections', count(now.connections));
  byId('connections-note').textContent = counted(now.users, 'user');
  showMeasure('received', rate(last.received));
  showMeasure('sent', rate(last.sent));
  showMeasure('p99', micros(last.p99));
  byId('p99-note').textContent = `p50 ${micros(last.p50)} · p99.9 ${micros(last.p99_9)}`;
  showMemory(last);
  showMeasure('cpu', last.cpu == null ? ABSENT : `${(100 * last.cpu).toFixed(last.cpu < .1 ? 1 : 0)}\u00a0%`);
  showShards(now.shards);
  const types = now.user_types.map(t => ({ name: t.name, value: t.sessions }));
  if (now.other_types) types.push({ name: 'other types', value: now.other_types });
  if (now.without_type) types.push({ name: 'without a type', value: now.without_type });
  rows('types', types, 'No sessions.', 3);
  showMeasure('outbox', bytes(now.slow.outbox_bytes));
  show('queued', large(now.slow.queued));
  show('dropped', large(now.slow.dropped));
  show('too-slow', large(now.slow.closed));
  rows('closed', entries(now.closed).sort(largestFirst), 'None so far.', 2);
  const errors = now.errors_sent ? [{ name: 'answered with an error', value: now.errors_sent, kind: 'message' }] : [];
  const refused = Object.fromEntries(Object.entries(now.refused).filter(([name]) => name !== 'token'));
  rows('refused', [...entries(refused, 'upgrade'), ...entries(now.tokens_refused, 'token'), ...entries(now.violations, 'protocol'),
    ...errors].sort(largestFirst), 'None so far.', 1);
  showSources(now.issuer ? [...now.sources, { ...now.issuer, name: 'issuer of tokens' }] : now.sources);
  showServices(now.services);
  showState(now);
  delete root.dataset.stale;
  drawCurves();
  root.dataset.answers = Number(root.dataset.answers) + 1;
}
function showState(now) {
  const away = now.sources.filter(isAway);
  const told = away.map(absence);
  const troubled = now.services.filter(service => isAway(service) || isFull(service));
  told.push(...troubled.slice(0, 3).map(trouble));
  if (troubled.length > 3) told.push(`${counted(troubled.length - 3, 'more service')} away or full.`);
  if (now.draining) told.unshift('Draining: this node takes no clients any more and closes those it has.');
  const keyless = now.issuer && !now.issuer.keys;
  if (keyless) told.push(`There are no keys of the issuer: none of its tokens is accepted, and /readyz answers 503. ${now.issuer.error || ''}`);
  if (now.note) told.push(`Incomplete: ${now.note}.`);
  tell(told.join('\n'), (away.length || keyless) && !now.draining ? 'bad' : 'warn');
  if (now.draining) mark('draining', 'warn');
  else if (keyless) mark('no keys', 'bad');
  else if (away.length) mark(`${away.map(source => source.name).join(', ')} away`, 'bad');
  else if (troubled.length > 1) mark(`${troubled.length} services in trouble`, 'warn');
  else if (troubled.length) mark(`${troubled[0].name} ${isAway(troubled[0]) ? 'away' : 'full'}`, 'warn');
  else mark('ready', 'good');
}
const isAway = ({ state }) => state !== 'connected';
const when = ({ state, since }) => state === 'connecting' ? 'is not connected yet' : `is away since ${time(since)}`;
function absence(source) {
  return `${source.name} ${when(source)}: what is published there does not arrive, and /readyz answers 503.${source.error ? ` ${source.error}` : ''}`;
}
function trouble(service) {
  const why = service.error ? ` (${service.error})` : '';
  if (isAway(service)) return `${service.name} ${when(service)}${why}: messages for it are refused, everything else works.`;
  return `${service.name} is slower than what clients send it: its queue is full, and what finds no room is refused.`;
}
function tell(text, kind) {
  const banner = byId('banner');
  banner.className = `banner ${kind}`;
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
}
function mark(text, kind) {
  const pill = byId('state');
  pill.className = `pill ${kind}`;
  if (pill.textContent !== text) pill.textContent = text;
}

/* Asking */
let lostSince = null;
function get(path) {
  const token = sessionStorage.getItem(TOKEN);
  return fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {}, signal: AbortSignal.timeout(5000) });
}
async function ask() {
  const answer = await get(`dashboard.json?after=${latest().at ?? 0}`);
  if (answer.status === 401) return { refused: sessionStorage.getItem(TOKEN) !== null };
  if (!answer.ok) throw new Error(`the port answers ${answer.status}`);
  return { numbers: await answer.json() };
}
async function watch() {
  const started = performance.now();
  let answer = {};
  try {
    answer = await ask();
    lostSince = null;
  } catch (error) {
    lostSince ??= Date.now();
    root.dataset.stale = '';
    mark('no answer', 'bad');
    // The same words each time: a screen reader says them once.
    tell(`No answer from the gateway since ${new Date(lostSince).toLocaleTimeString()}: ${error.message}. Trying on.`, 'bad');
  }
  if ('refused' in answer) return askForToken(answer.refused);
  setTimeout(watch, Math.max(100, PERIOD_MS - (performance.now() - started)));
  if (answer.numbers) render(answer.numbers);
}
function askForToken(wasWrong) {
  mark('token needed', 'warn');
  byId('ask-wrong').hidden = !wasWrong;
  sessionStorage.removeItem(TOKEN);
  byId('ask').showModal();
}
byId('ask').addEventListener('cancel', event => event.preventDefault());
byId('ask-form').addEventListener('submit', event => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, byId('ask-token').value);
  byId('ask-token').value = '';
  byId('ask').close();
  watch();
});

/* The other answers of the port, with the token, which a link alone would not show. */
async function readable(path) {
  const answer = await get(path);
  const text = await answer.text();
  return answer.headers.get('content-type') === 'application/json' ? JSON.stringify(JSON.parse(text), null, 2) : text;
}
for (const link of document.querySelectorAll('footer a:not([rel])')) {
  link.addEventListener('click', async event => {
    event.preventDefault();
    // Opened at once: later it would be a window that nobody asked for.
    const tab = window.open('', '_blank');
    const text = await readable(link.getAttribute('href')).catch(error => error.message);
    tab.location = URL.createObjectURL(new Blob([text], { type: 'text/plain;charset=utf-8' }));
  });
}

/* Five minutes or an hour */
function setSpan(name) {
  span = SPANS[name];
  localStorage.setItem(SPAN, name);
  for (const button of byId('span').children) button.ariaPressed = button.value === name;
  drawCurves();
}
byId('span').addEventListener('click', event => { if (event.target.value) setSpan(event.target.value); });
setSpan(Object.hasOwn(SPANS, localStorage.getItem(SPAN)) ? localStorage.getItem(SPAN) : 'minutes');

/* Light, dark, or as the system has it */
const THEMES = ['system', 'light', 'dark'];
function setTheme(theme) {
  theme === 'system' ? delete root.dataset.theme : root.dataset.theme = theme;
  localStorage.setItem(THEME, theme);
  byId('theme').title = byId('theme').ariaLabel = `Colours: ${theme}`;
}
byId('theme').addEventListener('click', () => {
  setTheme(THEMES[(THEMES.indexOf(localStorage.getItem(THEME)) + 1) % THEMES.length]);
});
setTheme(THEMES.includes(localStorage.getItem(THEME)) ? localStorage.getItem(THEME) : 'system');
watch();
