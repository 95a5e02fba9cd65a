// The console: signs in, then shows the page that the address's fragment names, in one frame for all of them.
//
// A page is an object: `title`, `template()` and, where it reads something, `load()`. Whatever changes is followed by
// `update()`, which writes the whole document anew; lit-html touches what is different and nothing else.

import { html, nothing, render } from './lit-html.js';
import * as session from './session.js';
import * as store from './store.js';
import { may } from './policy.js';
import { hush, refocus, trouble } from './ui.js';
import { words } from './words.js';
import * as profiles from './profiles.js';
import * as connect from './connect.js';
import * as health from './health.js';
import * as notices from './notices.js';
import * as rules from './rules.js';
import * as history_ from './history.js';
import * as settings from './settings.js';

const root = document.getElementById('console');
let written = false;
/** Writes in the place of what the page came with. */
const write = (content) => {
  if (!written) root.replaceChildren();
  written = true;
  render(content, root);
};

// what stands in the bar, and for whom
const PAGES = [
  { name: 'profiles', title: 'Profiles', page: profiles },
  { name: 'health', title: 'Health', page: health },
  { name: 'notices', title: 'Notices', page: notices, count: notices.pending },
  { name: 'rules', title: 'Rules', page: rules },
  { name: 'history', title: 'History', page: history_, needs: 'administer' },
  { name: 'settings', title: 'Settings', page: settings, needs: 'administer' },
  { name: 'connect', title: 'Add a profile', page: connect.begin, hidden: true },
  { name: 'reauthenticate', title: 'Reauthenticate', page: connect.again, hidden: true },
  { name: 'returned', title: 'Back from the network', page: connect.returned, hidden: true },
];

const may_see = ({ needs }) => !needs || may(session.person(), needs);

let route; // as `read` answers; nothing is shown before there is one
let strip; // of the sandbox
let problem; // why signing in again did not work

/** `#/profiles/owned/x_profile-42` is the page `profiles` with the rest; what is no fragment of ours is the first page. */
function read(hash) {
  const [name, ...rest] = parts(hash);
  const found = PAGES.find((page) => page.name === name && may_see(page));
  return found ? { ...found, rest } : { ...PAGES[0], rest: [] };
}

function parts(hash) {
  try {
    return hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  } catch {
    return [];
  }
}

function go() {
  const before = route;
  route = read(location.hash);
  if (before) hush();
  const isNew = before?.name !== route.name;
  document.title = `${route.title} · Tokenward`;
  route.page.enter?.(...route.rest);
  update();
  if (isNew) queueMicrotask(arriveAtTop);
}

function arriveAtTop() {
  scrollTo(0, 0);
  document.querySelector('main h1')?.focus({ preventScroll: true });
}

let asked = false;
/** Writes the document anew, once, soon. */
export function update() {
  if (asked) return;
  asked = true;
  queueMicrotask(() => {
    asked = false;
    if (!route) return;
    const focused = document.activeElement;
    write(frame());
    route.page.shown?.();
    if (focused?.isConnected === false) refocus();
    document.querySelectorAll('main [role=alert]').forEach(comeIntoSight);
  });
}

const sighted = new WeakSet();
/** Whoever clicked far down sees what came of it. */
function comeIntoSight(alert) {
  if (!sighted.has(alert)) alert.scrollIntoView({ block: 'nearest' });
  sighted.add(alert);
}

const frame = () => html`
  <a class="skip" href="#main" @click=${skip}>To the content</a>
  <header class="bar">
    <a class="brand" href="#/profiles">Tokenward</a>
    <nav aria-label="Pages">${PAGES.filter((page) => !page.hidden && may_see(page)).map(tab)}</nav>
    ${who()}
  </header>
  ${strip?.template() ?? nothing}
  ${session.isOver() ? ended() : nothing}
  <div id="said" role="status"></div>
  <main id="main" class="page">${route.page.template()}</main>`;

function skip(event) {
  event.preventDefault();
  document.querySelector('main h1')?.focus();
}

function tab({ name, title, count }) {
  const pending = count?.() ?? 0;
  return html`<a href="#/${name}" aria-current=${route.name === name ? 'page' : nothing}>${title}${pending
    ? html` <span class="count">${pending}<span class="unseen"> new</span></span>` : nothing}</a>`;
}

function who() {
  const person = session.person();
  return html`
    <button type="button" class="who quiet" popovertarget="who"><span>${person.name}</span></button>
    <div id="who" popover>
      <p><b>${person.name}</b></p>
      <p class="soft">${person.roles.map(words).join(', ') || 'no role that opens anything here'}${person.groups.length
        ? html`<br>in ${person.groups.join(', ')}` : nothing}</p>
      <button type="button" @click=${session.signOut}>Sign out</button>
    </div>`;
}

const ended = () => html`
  <section class="note ended" data-tone="soon" role="alert">
    <h2>Your session has ended</h2>
    <p>${problem ?? 'What you typed is still here. Sign in again and go on.'}</p>
    <button type="button" class="main" @click=${signInAgain}>Sign in again</button>
  </section>`;

async function signInAgain() {
  problem = undefined;
  try {
    await session.signInAgain();
    route.page.load?.();
  } catch (error) {
    problem = why(error);
  }
  update();
}

/** The page while nobody is signed in. */
const outside = (body) => write(html`
  <header class="bar"><a class="brand" href="/console">Tokenward</a></header>
  <main class="page narrow">${body}</main>`);

const signIn = (place) => outside(html`
  <h1>Social Profiles</h1>
  <p>Keep the accounts of your organisation connected: sign in once at each network, see how every token is, and mend in one
    click what has ended.</p>
  <p><button type="button" class="main" @click=${() => session.leave(place)}>Sign in</button></p>`);

const failed = (error, place) => outside(html`
  <h1>Signing in did not work</h1>
  ${trouble({
    title: 'Nobody is signed in',
    detail: why(error),
    code: error instanceof session.SignInError ? undefined : error.code ?? error.message,
  }, () => begin({ place }))}`);

const why = (error) => (error instanceof session.SignInError ? error.message
  : 'The identity provider was not reached, or its answer was not accepted. Look after your connection and try again; if it stays like this, tell your operator.');

async function begin(arrival) {
  const { place } = arrival;
  try {
    if (!await session.enter(arrival)) return signIn(place);
  } catch (error) {
    return failed(error, place);
  }
  const hash = connect.carried(place) ?? place.hash;
  history.replaceState(connect.backWith(place), '', hash || location.pathname);
  addEventListener('hashchange', go);
  store.onChange(update);
  session.onChange(update);
  [connect, notices, profiles, health, rules, history_, settings].forEach((page) => page.use?.({ update }));
  if (session.isSandbox()) strip = await import('./sandbox.js').then((sandbox) => sandbox.start(update)).catch(() => undefined);
  go();
  notices.load();
}

async function arrive() {
  const arrival = session.takeUp();
  if (!arrival.stray) return begin(arrival);
  const taken = await session.handOver(arrival.stray);
  outside(taken
    ? html`<h1>You are signed in</h1><p>You can close this window.</p>`
    : html`<h1>This sign-in was begun elsewhere</h1><p>Its window is gone. <a href="/console">Open the console</a></p>`);
}

await arrive().catch((error) => failed(error, {}));
