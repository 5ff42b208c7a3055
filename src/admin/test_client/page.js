// The test client: connects as any client does, sends what the routes take, and shows what goes over the wire.

const root = document.documentElement;
const failed = () => { root.dataset.errors = Number(root.dataset.errors) + 1; };
addEventListener('error', failed);
addEventListener('unhandledrejection', failed);

const LINES_MAX = 500, SAMPLES_MAX = 1000, AWAITED_MAX = 1000, ANSWER_MS = 5000, LINES_OF_MESSAGE_MAX = 16;
const TOKEN = 'ringway.token', THEME = 'ringway.theme';
const byId = id => document.getElementById(id);
if (['light', 'dark'].includes(localStorage.getItem(THEME))) root.dataset.theme = localStorage.getItem(THEME);

/* The admin port */
async function ask(path, options = {}) {
  for (let wasWrong = false; ; wasWrong = true) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status !== 401) return answer.json();
    await askForToken(wasWrong || token !== null);
  }
}
function askForToken(wasWrong) {
  byId('ask-wrong').hidden = !wasWrong;
  byId('ask').showModal();
  return new Promise(resolve => byId('ask-form').addEventListener('submit', event => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, byId('ask-token').value);
    byId('ask-token').value = '';
    byId('ask').close();
    resolve();
  }, { once: true }));
}
byId('ask').addEventListener('cancel', event => event.preventDefault());
const settingsOf = user => ask(`client.json?${new URLSearchParams({ origin: location.origin, user })}`);

/* What goes over the wire, the library's own messages too */
const counts = { sent: 0, received: 0, errors: 0, returns: 0 };
const awaited = new Map(), samples = [];
class Watched extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    this.addEventListener('message', event => arrived(String(event.data)));
  }
  send(text) {
    super.send(text);
    left(text);
  }
}
const parsed = text => {
  try { return Object(JSON.parse(text)); } catch { return {}; }
};
function left(text) {
  const line = add('out', '→', text);
  counts.sent += 1;
  const { id } = parsed(text);
  if (id !== undefined) awaited.set(id, { line, at: performance.now() });
  if (awaited.size > AWAITED_MAX) awaited.delete(awaited.keys().next().value);
  showCounts();
}
function arrived(text) {
  const { type, id } = parsed(text);
  counts.received += 1;
  if (type === 'error') counts.errors += 1;
  add(type === 'error' ? 'in error' : 'in', '←', text);
  const request = awaited.get(id);
  if (request) answered(request, performance.now() - request.at);
  awaited.delete(id);
  showCounts();
}
function answered({ line, at }, ms) {
  line.querySelector('em').textContent = micros(1000 * ms);
  line.querySelector('em').title = 'until the answer came';
  samples.push(ms);
  samples.splice(0, samples.length - SAMPLES_MAX);
}
function showCounts() {
  for (const [id, value] of Object.entries(counts)) byId(id).textContent = count(value);
  const sorted = samples.toSorted((a, b) => a - b);
  byId('latency').textContent = samples.length ? micros(1000 * samples.at(-1)) : ABSENT;
  byId('median').textContent = samples.length ? micros(1000 * sorted[Math.floor(sorted.length / 2)]) : ABSENT;
}

/* The log: the newest at the end, and no more than so many */
function add(kind, sign, text) {
  const log = byId('log');
  const isAtEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 30;
  const line = element('li', { class: kind }, element('time', {}, new Date().toLocaleTimeString('en-GB')),
    element('i', {}, sign), element('span', {}, ...content(text)), element('em', {}));
  line.dataset.text = text;
  line.hidden = !isWanted(text);
  log.append(line);
  if (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  return line;
}
/* The type stands out, wherever it stands in the text. */
function content(text, isWhole) {
  const { type } = parsed(text);
  if (typeof type !== 'string') return [text];
  return [element('b', {}, type), isWhole ? `\n${JSON.stringify(JSON.parse(text), null, 2)}` : ` ${text}`];
}
const note = text => add('note', '·', text);
const isWanted = text => text.toLowerCase().includes(byId('filter').value.trim().toLowerCase());
byId('filter').addEventListener('input', () => {
  for (const line of byId('log').children) line.hidden = !isWanted(line.dataset.text);
});
byId('clear').addEventListener('click', () => byId('log').replaceChildren());
byId('log').addEventListener('click', event => {
  const line = event.target.closest('li:not(.note)');
  if (!line || getSelection().toString()) return;
  const isWhole = line.classList.toggle('whole');
  line.querySelector('span').replaceChildren(...content(line.dataset.text, isWhole));
});

/* The connection */
let client, settings, filledIn;
const isConnected = () => client !== undefined && client.state.name !== 'closed';
function connect() {
  const userType = byId('user-type').value.trim();
  const isMade = settings.development && byId('token').value === filledIn;
  const token = isMade ? async () => (await fillIn(), filledIn) : byId('token').value.trim();
  Object.assign(counts, { sent: 0, received: 0, errors: 0, returns: 0 });
  samples.length = 0;
  client = new Ringway({
    url: byId('url').value.trim(), token, WebSocket: Watched, platform: 'test-client',
    ...(userType ? { userType } : {}),
    liveness: { pingMs: 10000 },
    onState: showState,
    onDropped: (message, why) => note(`${message.type} was not sent: ${why}`),
  });
  showState(client.state);
  showCounts();
}
async function fillIn() {
  const { token } = await settingsOf(byId('user').value.trim() || 'you');
  byId('token').value = filledIn = token ?? '';
}
const STATES = { connecting: ['connecting', 'warn'], open: ['open', 'good'], waiting: ['waiting', 'warn'], closed: ['closed', 'bad'] };
function showState(state) {
  const [text, kind] = STATES[state.name];
  byId('state').className = `pill ${kind}`;
  byId('state').textContent = text;
  byId('connect').textContent = isConnected() ? 'Disconnect' : 'Connect';
  for (const field of byId('connection').querySelectorAll('input, textarea')) field.disabled = isConnected();
  if (state.name === 'open') opened(state);
  if (state.code !== undefined && state.code !== 1000) tell(why(state), state.name === 'closed' ? 'bad' : 'warn');
  if (state.name === 'open' || state.code === 1000) tell('');
  if (state.code !== undefined) note(`${text}: ${state.code} ${state.reason}`);
  showTarget();
}
function opened({ session, again }) {
  if (again) counts.returns += 1;
  note(`open as ${session.userId}, session ${session.sessionId}${again ? ': what was subscribed by hand is gone' : ''}`);
  showCounts();
}
function why({ name, code, reason }) {
  const next = name === 'closed' ? 'It does not come back.' : 'It tries again.';
  if (code !== 1006) return `Closed with ${code}: ${reason}. ${next}`;
  if (!settings.origin_allowed) {
    return `Pages of ${location.origin} may not connect: auth.origins of the gateway has others. Add this one there.`;
  }
  return `No connection (${reason || 'broken'}). Is this the address of the public port, does a proxy pass WebSockets, is the token good? ${next}`;
}
function tell(text, kind = 'warn') {
  byId('banner').className = `banner ${kind}`;
  byId('banner').textContent = text;
  byId('banner').hidden = !text;
}
byId('connection').addEventListener('submit', event => {
  event.preventDefault();
  tell('');
  try {
    isConnected() ? client.close() : connect();
  } catch (error) {
    tell(`${error.message}.`, 'bad');
  }
});
byId('user').addEventListener('change', () => settings.development && fillIn());

/* Prepared messages: the routes, and what backends publish */
function showVocabularies({ routes, events }) {
  const names = [...new Set([...routes, ...events].map(entry => entry.file))].sort((a, b) => rank(a).localeCompare(rank(b)));
  const chips = names.map(file => {
    const chip = element('button', { type: 'button', role: 'tab', 'data-file': file }, nameOf(file));
    chip.addEventListener('click', () => choose(file, chip));
    return chip;
  });
  const choose = (file, chip) => {
    for (const other of chips) other.ariaSelected = String(other === chip);
    const of = (list, isEvent) => list.filter(entry => entry.file === file).map(entry => prepared(entry, isEvent));
    const published = of(events, true);
    const head = published.length ? [element('li', { class: 'head' }, 'What backends publish')] : [];
    byId('prepared').replaceChildren(...of(routes, false), ...head, ...published);
    byId('prepared').querySelector('button')?.click();
  };
  byId('vocabularies').replaceChildren(...chips);
  chips[0]?.click();
  const types = [...new Set(routes.flatMap(route => route.roles ?? []))].filter(Boolean);
  byId('user-types').replaceChildren(...types.map(type => element('option', { value: type })));
}
/* What everybody speaks comes first. */
const rank = file => (file === 'core.toml' ? '' : nameOf(file));
/* A file of the gateway's own, or of the configuration. */
const nameOf = file => file.replace(/^.*\//, '').replace(/\.toml$/, '');
function prepared(entry, isEvent) {
  const title = element('b', {}, entry.type);
  if (entry.when) title.append(element('span', { class: 'tag' }, `with ${entry.when}`));
  if (entry.roles) title.append(element('span', { class: 'tag' }, `for ${entry.roles.map(role => role || 'no type').join(', ')}`));
  const button = element('button', { type: 'button', 'data-type': entry.type }, title, element('small', {}, entry.about ?? ''));
  button.addEventListener('click', () => {
    for (const other of byId('prepared').querySelectorAll('button')) other.ariaPressed = String(other === button);
    edit(entry, isEvent);
  });
  return element('li', {}, button);
}
function edit(entry, isEvent) {
  byId('editor-title').textContent = isEvent ? 'Message of a backend' : 'Message';
  byId('message').value = JSON.stringify(entry.example ? JSON.parse(entry.example) : exampleOf(entry), null, 2);
  byId('message').rows = Math.min(LINES_OF_MESSAGE_MAX, byId('message').value.split('\n').length + 1);
  byId('as-client').hidden = isEvent;
  byId('as-backend').hidden = !isEvent;
  byId('wrong').hidden = true;
  showTarget();
  const described = (fields, remark) => Object.entries(fields ?? {}).map(([name, field]) =>
    element('li', {}, element('b', {}, name), ` ${describe(field)}${remark}`));
  byId('fields').replaceChildren(...described(entry.fields, ''), ...described(entry.optional, ', may be left out'));
}
/* For a route that has none. */
function exampleOf(route) {
  const values = { id: '1', text: 'text', boolean: true, number: 0, integer: 0, object: {}, list: [], any: null };
  const value = field => field.one_of?.[0] ?? field.min ?? values[field.type ?? field];
  const fields = Object.entries(route.fields ?? {}).map(([name, field]) => [name, value(field)]);
  const own = route.field && !(route.field in (route.fields ?? {})) ? [[route.field, route.action === 'authenticate' ? byId('token').value : []]] : [];
  // What finds the route, unless it says more about it.
  const when = route.when ? [[route.when, true]] : [];
  return Object.fromEntries([['type', route.type], ...when, ...own, ...fields]);
}
function describe(field) {
  const { type = field, min, max, bytes_max, one_of } = field;
  const range = (min === undefined ? '' : ` from ${min}`) + (max === undefined ? '' : ` to ${max}`);
  return type + range + (bytes_max ? ` of up to ${bytes_max} bytes` : '') + (one_of ? `: ${one_of.join(', ')}` : '');
}

/* Sending */
let ids = 0;
/* Of a backend's message: the conversation that it is about, or the user himself. */
function showTarget() {
  const user = client?.state.name === 'open' ? client.state.session.userId : byId('user').value.trim() || 'you';
  const { payload } = parsed(byId('message').value);
  byId('target').value = payload?.conversation_id !== undefined ? `conv:${payload.conversation_id}` : `user:${user}`;
}
function message() {
  const message = JSON.parse(byId('message').value);
  if (typeof message?.type !== 'string') throw new Error('a message is a JSON object with a type');
  return message;
}
byId('send').addEventListener('click', () => complain(() => {
  if (!isConnected()) throw new Error('not connected');
  const whole = message();
  if (byId('with-id').checked && whole.id === undefined) whole.id = `m${++ids}`;
  client.send(whole);
}));
byId('publish').addEventListener('click', () => complain(async () => {
  const channel = byId('target').value.trim();
  const body = JSON.stringify(message());
  const answer = await ask(`broadcast/channel/${encodeURIComponent(channel)}`, { method: 'POST', body });
  note(`published to ${channel}: ${answer.error ? answer.error.message : counted(answer.delivered, 'connection')}`);
}));
async function complain(work) {
  byId('wrong').hidden = true;
  try {
    await work();
  } catch (error) {
    byId('wrong').textContent = error.message;
    byId('wrong').hidden = false;
  }
}
byId('editor').addEventListener('submit', event => event.preventDefault());

async function begin() {
  settings = await settingsOf('you');
  if (settings.error) throw new Error(settings.error.message);
  byId('node').textContent = settings.server_id;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  byId('url').value = `${scheme}://${location.hostname}:${settings.port}${settings.path}`;
  byId('token-hint').textContent = settings.development
    ? 'Development mode has made this token, for the user above.'
    : 'From your backend, or: ringway token --user NAME';
  byId('token').value = filledIn = settings.token ?? '';
  byId('user').closest('label').hidden = !settings.development;
  showVocabularies(await ask('routes'));
  root.dataset.ready = 'true';
}
begin().catch(error => tell(`The admin port does not answer: ${error.message}`, 'bad'));
