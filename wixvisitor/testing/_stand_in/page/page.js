// The page of the stand-in. It listens to /_fake/events and writes text only (never HTML), so that nothing that a
// client sends can become part of the page. The policy `require-trusted-types-for 'script'` enforces that.

const get = (id) => document.getElementById(id);
const facts = { clock: null, totals: {}, faults: [], visitors: [], calls: [], mail: [] };
let receivedAt = 0; // by performance.now(), when `facts.clock` was right

// --- small things ---------------------------------------------------------------------------------------------------

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function part(row, name) {
  return row.querySelector(`[data-part="${name}"]`);
}

function fromTemplate(id) {
  return get(id).content.firstElementChild.cloneNode(true);
}

/** Makes the children of `list` match `items`, keeps the element of an item, and so also the focus. */
function reconcile(list, items, keyOf, make, update) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let next = list.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let row = known.get(key);
    known.delete(key);
    if (!row) {
      row = make(item);
      row.dataset.key = key;
    }
    update(row, item);
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
  }
  for (const row of known.values()) row.remove();
}

function now() {
  const { now: then, speed } = facts.clock;
  return then + ((performance.now() - receivedAt) / 1000) * (speed ?? 1);
}

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const units = [[31536000, 'y'], [86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const index = units.findIndex(([size]) => whole >= size);
  if (index < 0) return '0 s';
  const [size, name] = units[index];
  const finer = units[index + 1];
  const rest = finer ? Math.floor((whole % size) / finer[0]) : 0;
  return rest ? `${Math.floor(whole / size)} ${name} ${rest} ${finer[1]}` : `${Math.floor(whole / size)} ${name}`;
}

const timeFormat = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const dateFormat = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
const timeOfDay = (seconds) => timeFormat.format(seconds * 1000);

function setChip(chip, id) {
  setText(chip, id ? id.slice(0, 8) : '');
  chip.title = id ?? '';
  chip.style.setProperty('--hue', id ? parseInt(id.slice(0, 4), 16) % 360 || 0 : 0);
}

// --- what is said about an action -----------------------------------------------------------------------------------

let silence;

function say(text, isBad = false) {
  clearTimeout(silence);
  const toast = get('said');
  toast.classList.toggle('bad', isBad);
  setText(toast, text);
  silence = setTimeout(() => setText(toast, ''), isBad ? 8000 : 3500);
}

async function ask(method, path, body, done) {
  try {
    const init = { method, headers: { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) };
    const response = await fetch(`/_fake/${path}`, init);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message);
    say(done);
  } catch (error) {
    say(error instanceof TypeError ? 'The stand-in does not answer.' : error.message, true);
  }
}

// --- time -----------------------------------------------------------------------------------------------------------

function showClock() {
  const seconds = now();
  setText(get('clock'), timeOfDay(seconds));
  get('clock').dateTime = new Date(seconds * 1000).toISOString();
  setText(get('clock-date'), dateFormat.format(seconds * 1000));
  get('speeds').hidden = facts.clock.speed === null;
  for (const button of get('speeds').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(Number(button.dataset.speed) === facts.clock.speed));
  }
}

for (const button of document.querySelectorAll('[data-advance]')) {
  const advance = Number(button.dataset.advance);
  button.addEventListener('click', () => ask('POST', 'clock', { advance }, `${span(advance)} later.`));
}
for (const button of document.querySelectorAll('[data-speed]')) {
  const speed = Number(button.dataset.speed);
  const done = speed ? `Now ${span(speed)} pass in a second.` : 'The clock stands still.';
  button.addEventListener('click', () => ask('POST', 'clock', { speed }, done));
}

// --- faults ---------------------------------------------------------------------------------------------------------

const VERBS = {
  fail: (fault) => `answers ${fault.detail}`,
  delay: (fault) => `answers after ${fault.detail}`,
  hang: () => 'never answers',
  drop: (fault) => (fault.committed ? 'does the work, closes the connection' : 'closes the connection'),
  hold: (fault) => `holds calls (${fault.detail})`,
  truncate: (fault) => `cuts the answer off ${fault.detail}`,
  add_header: (fault) => `adds the header ${fault.detail}`,
  set_cookie: () => 'sets a cookie',
};
const GRANTS = { anonymous: 'Token calls for new visitors', refresh_token: 'Renewals', authorization_code: 'Logins', authorized_client: 'Logins with an API key' };

function faultText(fault) {
  const which = GRANTS[fault.grantType] ?? (fault.path === '/oauth2/token' ? 'Token calls' : fault.path ?? 'API calls');
  const left = fault.times === null ? `until removed, ${fault.used} so far` : `${fault.times - fault.used} left`;
  return `${which}: ${VERBS[fault.verb](fault)} · ${left}`;
}

function showFaults() {
  reconcile(
    get('faults'),
    facts.faults,
    (fault) => fault.number,
    (fault) => {
      const row = fromTemplate('fault-template');
      part(row, 'remove').addEventListener('click', () => ask('DELETE', `faults/${fault.number}`, null, 'Removed.'));
      return row;
    },
    (row, fault) => {
      setText(part(row, 'text'), faultText(fault));
      part(row, 'remove').setAttribute('aria-label', `Remove: ${faultText(fault)}`);
    },
  );
  get('no-faults').hidden = facts.faults.length > 0;
  get('remove-faults').hidden = facts.faults.length < 2;
}

function showDetail() {
  const chosen = get('fault-verb').selectedOptions[0].dataset.detail;
  for (const label of document.querySelectorAll('[data-detail-of]')) {
    const isChosen = label.dataset.detailOf === chosen;
    label.hidden = !isChosen;
    label.firstElementChild.disabled = !isChosen;
  }
}

get('fault-verb').addEventListener('change', showDetail);
get('fault').addEventListener('submit', (event) => {
  event.preventDefault();
  const { verb, which, times, ...detail } = Object.fromEntries(new FormData(event.target));
  const wanted = { verb: verb.replace('-committed', ''), times: times ? Number(times) : null };
  if (verb.endsWith('-committed')) wanted.committed = true;
  for (const [name, value] of Object.entries(detail)) wanted[name] = Number(value);
  if (which in GRANTS) wanted.grant_type = which;
  else if (which !== 'tokens') wanted.path = which === 'apis' ? null : which;
  ask('POST', 'faults', wanted, 'The fault is active.');
});
get('remove-faults').addEventListener('click', () => ask('DELETE', 'faults', null, 'All faults are removed.'));

// --- visitors -------------------------------------------------------------------------------------------------------

function tokenState(token) {
  if (!token) return ['none', 'none', 0];
  const left = token.expiresAt - now();
  const share = Math.min(1, Math.max(0, left / (token.expiresAt - token.issuedAt)));
  if (token.revoked) return ['refused', 'refused', 0];
  if (left <= 0) return ['expired', `expired ${span(-left)} ago`, 0];
  return [share < 0.25 ? 'ageing' : 'valid', `${span(left)} left`, share];
}

function showToken(row, name, token) {
  const [state, text, share] = tokenState(token);
  part(row, name).dataset.state = state;
  setText(part(row, `${name}-end`), token ? `…${token.end}` : '');
  setText(part(row, `${name}-state`), name === 'access' && state === 'refused' ? 'rejected' : text);
  setText(part(row, `${name}-age`), token ? `${span(now() - token.issuedAt)} old` : '');
  part(row, `${name}-bar`).style.setProperty('--part', `${(share * 100).toFixed(1)}%`);
}

function showCart(row, cart) {
  const lines = cart?.lines ?? [];
  const items = lines.map((line, index) => ({ ...line, index }));
  reconcile(
    part(row, 'lines'),
    items,
    (line) => line.index,
    () => {
      const item = document.createElement('li');
      item.append(document.createElement('span'), document.createElement('span'));
      return item;
    },
    (item, line) => {
      const short = line.confirmed < line.quantity;
      setText(item.firstElementChild, `${line.quantity} × ${line.name}${short ? ` (${line.confirmed} in stock)` : ''}`);
      setText(item.lastElementChild, `$${line.total}`);
      item.firstElementChild.classList.toggle('little', short);
    },
  );
  const more = cart?.more ? ` and ${cart.more} more lines` : '';
  const coupons = cart?.coupons.length ? ` with ${cart.coupons.join(', ')}` : '';
  const sum = part(row, 'sum');
  if (!lines.length) sum.replaceChildren(cart ? 'The cart is empty.' : 'No cart yet.');
  else {
    const [label, amount] = [document.createElement('span'), document.createElement('span')];
    label.textContent = `Total${more}${coupons}`;
    amount.textContent = `$${cart.total}`;
    sum.replaceChildren(label, amount);
  }
}

function makeVisitor(visitor) {
  const row = fromTemplate('visitor-template');
  const short = visitor.id.slice(0, 8);
  const said = { revoke_access_tokens: 'The API rejects its access tokens.', refuse_refresh_tokens: 'Its refresh tokens are refused.' };
  for (const button of row.querySelectorAll('[data-do]')) {
    const path = `visitors/${encodeURIComponent(visitor.id)}/${button.dataset.do}`;
    button.setAttribute('aria-label', `${button.textContent} of visitor ${short}`);
    button.addEventListener('click', () => ask('POST', path, {}, said[button.dataset.do]));
  }
  return row;
}

function showAges(row, visitor) {
  setText(part(row, 'seen'), `seen ${span(now() - visitor.seenAt)} ago`);
  showToken(row, 'access', visitor.accessToken);
  showToken(row, 'refresh', visitor.refreshToken);
}

function showVisitors() {
  reconcile(get('visitors'), facts.visitors, (visitor) => visitor.id, makeVisitor, (row, visitor) => {
    setChip(part(row, 'chip'), visitor.id);
    setText(part(row, 'member'), visitor.memberId ? 'member' : '');
    setText(part(row, 'id'), visitor.id);
    showCart(row, visitor.cart);
    showAges(row, visitor);
  });
  const { visitors: all = 0 } = facts.totals;
  const hidden = all - facts.visitors.length;
  get('no-visitors').hidden = all > 0;
  setText(get('visitors-note'), hidden > 0 ? `The ${facts.visitors.length} seen last, of ${all}` : '');
}

// --- calls ----------------------------------------------------------------------------------------------------------

function statusOf(call) {
  if (call.running) return ['…', 'running', 'still running'];
  if (call.status === null) return ['none', 'none', 'no answer was sent'];
  const kind = call.status >= 500 ? 'server' : call.status >= 400 ? 'client' : 'good';
  return [String(call.status), kind, ''];
}

const TAGS = { anonymous: 'new visitor', refresh_token: 'renewal', authorization_code: 'login', authorized_client: 'login' };

function showCall(row, call) {
  const [text, kind, title] = statusOf(call);
  setText(part(row, 'at'), timeOfDay(call.at));
  setText(part(row, 'method'), call.method);
  setText(part(row, 'path'), call.path);
  setText(part(row, 'tag'), call.known ? TAGS[call.grant] ?? '' : 'unknown route');
  part(row, 'tag').classList.toggle('loud', !call.known);
  setText(part(row, 'status'), text);
  part(row, 'status').dataset.kind = kind;
  part(row, 'status').title = title;
  setChip(part(row, 'visitor'), call.visitor);
  setText(part(row, 'agent'), call.agent);
  part(row, 'agent').title = call.agent;
}

function showCalls() {
  if (get('pause').checked) return;
  const isFirst = !get('call-rows').childElementCount;
  const make = () => {
    const row = fromTemplate('call-template');
    row.classList.toggle('fresh', !isFirst);
    return row;
  };
  reconcile(get('call-rows'), facts.calls, (call) => call.id, make, showCall);
  get('no-calls').hidden = facts.calls.length > 0;
  get('calls-box').hidden = facts.calls.length === 0;
}

get('pause').addEventListener('change', showCalls);
get('clear-calls').addEventListener('click', () => ask('DELETE', 'calls', null, 'The list is empty.'));

// --- mail -----------------------------------------------------------------------------------------------------------

function showMail() {
  get('mail-part').hidden = facts.mail.length === 0;
  reconcile(
    get('mail'),
    facts.mail,
    (mail) => `${mail.at} ${mail.to} ${mail.code} ${mail.url}`,
    () => fromTemplate('mail-template'),
    (row, mail) => {
      setText(part(row, 'subject'), mail.subject);
      setText(part(row, 'code'), mail.code);
      setText(part(row, 'to'), mail.to);
      setText(part(row, 'at'), timeOfDay(mail.at));
      part(row, 'url').hidden = !/^https?:/.test(mail.url);
      if (mail.url) part(row, 'url').href = mail.url;
    },
  );
}

// --- totals, how to, and the stream ---------------------------------------------------------------------------------

function showTotals() {
  for (const [name, value] of Object.entries(facts.totals)) {
    setText(get(`total-${name}`), value.toLocaleString('en'));
    get(`total-${name}`).parentElement.classList.toggle('some-bad', name === 'failures' && value > 0);
  }
}

const SHOW = { totals: showTotals, faults: showFaults, visitors: showVisitors, calls: showCalls, mail: showMail };

function showAddress() {
  const url = location.origin;
  const clientId = '5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e';
  setText(get('address'), url);
  setText(get('how-python'), `VisitorSession(client_id, base_url="${url}")`);
  setText(
    get('how-sdk'),
    `const wix = fetch;\nglobalThis.fetch = (url, init) =>\n  wix(\`\${url}\`.replace(/^https:\\/\\/\\w+\\.wixapis\\.com/, "${url}"), init);`,
  );
  setText(get('how-curl'), `curl ${url}/oauth2/token -d '{"clientId": "${clientId}", "grantType": "anonymous"}'`);
}

function setLive(state, text) {
  get('live').dataset.state = state;
  setText(get('live-text'), text);
}

function listen() {
  const stream = new EventSource('/_fake/events');
  stream.addEventListener('open', () => setLive('live', 'Live'));
  stream.addEventListener('error', () => {
    setLive('lost', 'The stand-in has stopped');
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
  stream.addEventListener('message', ({ data }) => {
    receivedAt = performance.now();
    const news = JSON.parse(data);
    Object.assign(facts, news);
    showClock();
    for (const name of Object.keys(SHOW)) if (name in news) SHOW[name]();
  });
}

showAddress();
listen();
setInterval(() => {
  if (!facts.clock || document.hidden) return;
  showClock();
  const byId = new Map(facts.visitors.map((visitor) => [visitor.id, visitor]));
  for (const row of get('visitors').children) if (byId.has(row.dataset.key)) showAges(row, byId.get(row.dataset.key));
}, 500);
