// The lists of profiles with their filters, and beside them the panel of the one that is selected.

import { html, nothing } from './lit-html.js';
import * as session from './session.js';
import * as store from './store.js';
import * as panel from './profile.js';
import { may } from './policy.js';
import { Rows } from './rows.js';
import { badge, face, loading, trouble } from './ui.js';
import { daysUntil, fromNow, onDate } from './time.js';
import { KINDS, NETWORKS, PROFILE_STATES, STATES } from './words.js';

let update;
let name = 'owned';
let selected;
const UNFILTERED = { text: '', network: '', tone: '' };
const filter = { ...UNFILTERED, order: 'urgent' };
const narrow = matchMedia('(max-width: 61.99rem)'); // as in the style: the panel is there instead of the list, not beside it
let left; // where in the list the person was
let arriving; // once the panel came or went: how far down the page is, and what has the focus

export const use = (frame) => {
  update = frame.update;
  panel.use(frame);
};

export function enter(list = 'owned', id = undefined) {
  name = Object.hasOwn(store.LISTS, list) ? list : 'owned';
  const before = selected;
  selected = id;
  if (id === before) return id && panel.load();
  if (!before) left = scrollY;
  if (id) panel.open(id);
  arriving = id ? { top: 0, focus: '#panel h2' } : { top: left, focus: `[data-profile="${CSS.escape(before)}"]` };
}

export const load = () => {
  if (store.list(name).refusal) store.again(name);
  panel.load();
};

/** What a list says of a profile: its state, and before that an end that is near. */
export function standing(profile) {
  const { tone, title } = PROFILE_STATES[profile.state];
  const mine = profile.tokens.filter((token) => token.owner === session.person().subject);
  if (mine.some(store.isOver) && profile.state !== 'valid_not_mine') return { tone: tone === 'good' ? 'soon' : tone, title: STATES.needs_reauth.title };
  const ending = profile.tokens.find((token) => token.state === 'expiring');
  if (tone === 'good' && ending) return { tone: 'soon', title: STATES.expiring.title };
  return { tone, title };
}

/** When the first of a profile's living tokens ends. */
const end = ({ tokens }) => tokens.filter((token) => !store.isOver(token)).map((token) => token.expires_at).filter(Boolean).sort()[0];

const URGENCY = { bad: 0, soon: 1, idle: 2, good: 3 };
const late = '9999';
const ORDERS = {
  urgent: { title: 'What needs somebody first', by: (a, b) => URGENCY[standing(a).tone] - URGENCY[standing(b).tone] || (end(a) ?? late).localeCompare(end(b) ?? late) || a.name.localeCompare(b.name) },
  end: { title: 'What ends first', by: (a, b) => (end(a) ?? late).localeCompare(end(b) ?? late) || a.name.localeCompare(b.name) },
  name: { title: 'By name', by: (a, b) => a.name.localeCompare(b.name) },
};

/** What the filter leaves of `items`, in its order; the last answer is kept as long as nothing changes. */
let remembered = {};
function found(items) {
  const key = JSON.stringify(filter);
  if (remembered.items === items && remembered.key === key) return remembered.answer;
  const text = filter.text.trim().toLowerCase();
  const fits = (profile) => (!filter.network || profile.network === filter.network)
    && (!filter.tone || standing(profile).tone === filter.tone)
    && (!text || `${profile.name} ${profile.id} ${profile.owners.join(' ')}`.toLowerCase().includes(text));
  remembered = { items, key, answer: items.filter(fits).sort(ORDERS[filter.order].by) };
  return remembered.answer;
}

const rows = new Rows((profile) => html`
  <a class="profile" href="#/profiles/${name}/${encodeURIComponent(profile.id)}" data-profile=${profile.id}
    aria-current=${profile.id === selected ? 'true' : nothing}>
    ${face(profile)}
    <span class="what"><b>${profile.name}</b><span class="soft">${KINDS[profile.kind].title}</span></span>
    ${badge(standing(profile))}
    <span class="owners soft">${profile.owners.join(', ') || 'nobody'}</span>
    <span class="ends soft">${ends(profile)}</span>
  </a>`, (profile) => profile.id);

function ends(profile) {
  const instant = end(profile);
  if (!profile.tokens.length) return 'no token';
  if (profile.tokens.every(store.isOver)) return 'ended';
  if (!instant) return 'renews itself';
  return daysUntil(instant) > 0 ? html`ends <time datetime=${instant} title=${onDate(instant)}>${fromNow(instant)}</time>` : 'ended';
}

export const shown = () => {
  if (arriving && narrow.matches) scrollTo(0, arriving.top);
  rows.show(document.querySelector('ul.rows'), found(store.list(name).items));
  if (arriving) document.querySelector(arriving.focus)?.focus({ preventScroll: true });
  arriving = undefined;
};

const set = (field) => (event) => {
  filter[field] = event.target.value;
  update();
};

function unfilter() {
  Object.assign(filter, UNFILTERED);
  update();
}

export function template() {
  const list = store.list(name);
  const fitting = found(list.items);
  return html`
    <div class="head">
      <h1 tabindex="-1">Social Profiles</h1>
      ${may(session.person(), 'connect') ? html`<a class="button main" href="#/connect">Add a profile</a>` : nothing}
    </div>
    <div class="panes" data-open=${selected ? 'yes' : nothing}>
      <section class="list" aria-label="Profiles">
        <nav class="tabs" aria-label="Lists">${Object.entries(store.LISTS).map(([one, { title }]) =>
          html`<a href="#/profiles/${one}" aria-current=${one === name ? 'true' : nothing}>${title}</a>`)}</nav>
        ${filters()}
        <p class="soft told" role="status">${told(list, fitting)}</p>
        ${list.refusal ? trouble(list.refusal, () => store.again(name)) : nothing}
        ${!list.items.length && !list.done && !list.refusal ? loading('Profiles are being read') : nothing}
        ${list.done && !list.items.length ? none() : nothing}
        ${list.done && list.items.length && !fitting.length ? html`<div class="empty"><p><b>No profile is like that.</b></p>
          <p><button type="button" @click=${unfilter}>Show them all</button></p></div>` : nothing}
        <ul class="rows"></ul>
      </section>
      ${selected ? html`<section id="panel" class="panel" aria-label="Details">${panel.template(`#/profiles/${name}`)}</section>` : nothing}
    </div>`;
}

const filters = () => html`
  <form class="filters" role="search" @submit=${(event) => event.preventDefault()}>
    <label class="grow"><span class="unseen">Find</span>
      <input type="search" placeholder="Find by name, id or owner" .value=${filter.text} @input=${set('text')}></label>
    <label><span class="unseen">Network</span><select @change=${set('network')}>
      <option value="">All networks</option>
      ${Object.entries(NETWORKS).map(([network, { title }]) => html`<option value=${network} .selected=${filter.network === network}>${title}</option>`)}
    </select></label>
    <label><span class="unseen">State</span><select @change=${set('tone')}>
      <option value="">All states</option>
      ${[['bad', 'Does not work'], ['soon', 'Needs a look soon'], ['idle', 'Without owners'], ['good', 'Works']].map(([tone, title]) =>
        html`<option value=${tone} .selected=${filter.tone === tone}>${title}</option>`)}
    </select></label>
    <label><span class="unseen">Order</span><select @change=${set('order')}>
      ${Object.entries(ORDERS).map(([order, { title }]) => html`<option value=${order} .selected=${filter.order === order}>${title}</option>`)}
    </select></label>
  </form>`;

function told(list, fitting) {
  if (!list.items.length) return '';
  const count = fitting.length === list.items.length ? `${list.items.length}` : `${fitting.length} of ${list.items.length}`;
  const noun = list.items.length === 1 ? 'profile' : 'profiles';
  return `${count} ${noun}${list.done || list.refusal ? '' : ', and more are being read…'}`;
}

function none() {
  const { none: nothingHere, next } = store.LISTS[name];
  const isForAdding = ['owned', 'all'].includes(name);
  const canAdd = isForAdding && may(session.person(), 'connect');
  return html`<div class="empty"><p><b>${nothingHere}</b></p>
    ${isForAdding && !canAdd
      ? html`<p class="soft">Your role allows you to look, not to connect. Ask an administrator for the role responder or manager.</p>`
      : html`<p class="soft">${next}</p>`}
    ${canAdd ? html`<p><a class="button main" href="#/connect">Add a profile</a></p>` : nothing}</div>`;
}
