// Who did what to which token, for administrators.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import { loading, trouble } from './ui.js';
import { at } from './time.js';
import { COLOURS, EVENTS, NETWORKS, REASONS, SWITCHES } from './words.js';

let update;
let items, next, refusal, profile;
let reading; // the page that is being read; what comes of one before is for nobody

export const use = (frame) => { update = frame.update; };

export function enter(wanted) {
  profile = wanted || undefined;
  items = next = refusal = reading = undefined;
  load();
}

/** Reads on where it stopped. */
export async function load() {
  if (reading || next === null) return;
  const mine = reading = api.get('history', { profile_id: profile, next });
  try {
    const page = await mine;
    if (mine !== reading) return;
    items = [...(items ?? []), ...page.items];
    [next, refusal] = [page.next ?? null, undefined];
  } catch (reason) {
    if (mine !== reading) return;
    refusal = reason;
  }
  reading = undefined;
  update();
}

export const template = () => html`
  <h1 tabindex="-1">History</h1>
  <p class="soft">${profile ? html`Of <code>${profile}</code> alone. <a href="#/history">Show everything</a>.` : 'Kept for 400 days; it holds no secrets.'}</p>
  ${refusal ? trouble(refusal, load) : nothing}
  ${!items && !refusal ? loading('The history is being read') : nothing}
  ${items && !items.length && !next ? html`<p class="empty">Nothing has happened yet.</p>` : nothing}
  <ol class="plain story">${(items ?? []).map(line)}</ol>
  ${next ? html`<p><button type="button" @click=${load}>Show older</button></p>` : nothing}`;

const line = (event) => html`
  <li><time class="soft" datetime=${event.at}>${at(event.at)}</time>
    <p><b>${event.by ?? 'Tokenward'}</b> ${EVENTS[event.event] ?? event.event}
      ${event.user ? html`<b>${event.user}</b>` : nothing}
      ${event.profile_id ? html`<a href="#/history/${encodeURIComponent(event.profile_id)}">${event.profile_id}</a>` : nothing}
      ${event.token_id ? html`<span class="soft">${event.token_id}</span>` : nothing}
      <span class="soft">${more(event)}</span></p></li>`;

const more = ({ allow, reason, network, colour, times, failures }) => [
  ...Object.entries(allow ?? {}).map(([name, on]) => `${SWITCHES[name].title.toLowerCase()}: ${on ? 'on' : 'off'}`),
  network && NETWORKS[network].title,
  colour && `now ${COLOURS[colour].title.toLowerCase()}`,
  reason && REASONS[reason],
  times && `${times} ${times === 1 ? 'time' : 'times'} that day`,
  failures && `${failures} of them failed`,
].filter(Boolean).join(' · ');
