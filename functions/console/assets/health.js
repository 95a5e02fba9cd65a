// How things stand: acquisition at each network, the person's own tokens, and a picture of what ends when.

import { html, nothing, svg } from './lit-html.js';
import * as api from './api.js';
import * as session from './session.js';
import * as store from './store.js';
import { may } from './policy.js';
import { badge, loading, mark, trouble } from './ui.js';
import { daysUntil, fromNow, now, onDate } from './time.js';
import { COLOURS, KINDS, NETWORKS, STANDINGS, USES } from './words.js';

let update;
let health, refusal;
const LANES = 24; // of the timeline: the soonest ends

export const use = (frame) => { update = frame.update; };
export const enter = () => load();

export async function load() {
  if (store.list('all').refusal) store.again('all');
  try {
    health = await api.get('health');
    refusal = undefined;
  } catch (reason) {
    refusal = reason;
  }
  update();
}

export const template = () => html`
  <h1 tabindex="-1">Health</h1>
  ${refusal ? trouble(refusal, load) : nothing}
  ${health ? html`${counts()}${acquisition()}` : refusal ? nothing : loading('Health is being read')}
  ${timeline()}
  ${health ? ownTokens() : nothing}`;

function counts() {
  const { valid, valid_not_mine, invalid, no_owner, detail } = health.profiles;
  return html`
    <dl class="tiles">
      ${[[valid, 'work', 'good'], [valid_not_mine, 'work, but not by your token', 'soon'], [invalid, 'do not work', 'bad'], [no_owner, 'without owners', 'idle']]
        .map(([count, title, tone]) => html`<div data-tone=${tone}><dt>${title}</dt><dd>${count}</dd></div>`)}
    </dl>
    ${detail ? html`<p class="note" data-tone="soon">${detail}</p>` : nothing}
    ${health.complete ? nothing : html`<p class="soft">There are thousands of profiles: these counts cover the first of them, the colours below all.</p>`}`;
}

function acquisition() {
  return html`
    <section aria-labelledby="acquisition">
      <h2 id="acquisition">Acquisition</h2>
      ${health.networks.length ? nothing : html`<p class="empty">Nothing is acquired yet. Connect a Facebook profile or an Instagram account and allow search acquisition.</p>`}
      <div class="cards">${health.networks.map(({ network, acquisition: colour, valid_tokens, detail, own_app }) => html`
        <article class="tile" data-tone=${COLOURS[colour].tone}>
          <header>${mark(network)}<h3>${NETWORKS[network].title}</h3>${badge(COLOURS[colour])}</header>
          <p><b>${valid_tokens === 0 ? 'No token works and is allowed.' : valid_tokens === 1 ? 'One token works and is allowed.' : `${valid_tokens} tokens work and are allowed.`}</b></p>
          ${detail ? html`<p>${detail}</p>` : nothing}
          ${own_app === null ? nothing : html`<p class="soft">${own_app
            ? 'They come from an app that is for acquisition alone: they could not write even if they leaked.'
            : 'They come from the app that also publishes; they are never leased for a write. An app of its own for acquisition is recommended.'}</p>`}
          ${colour !== 'green' && may(session.person(), 'connect') ? html`<p><a class="button" href="#/connect">Add a token</a></p>` : nothing}
        </article>`)}</div>
    </section>`;
}

/** Every token that has an end ahead, the soonest first. */
function endings() {
  const all = store.list('all').items.flatMap((profile) => profile.tokens.map((token) => ({ profile, token, end: token.expires_at })));
  return all.filter(({ token, end }) => end && Date.parse(end) > now() && token.state !== 'needs_reauth').sort((a, b) => a.end.localeCompare(b.end));
}

function timeline() {
  const list = store.list('all');
  const all = endings();
  const lanes = all.slice(0, LANES);
  return html`
    <section aria-labelledby="timeline">
      <h2 id="timeline">What ends when</h2>
      ${list.refusal ? trouble(list.refusal, () => store.again('all')) : nothing}
      ${!list.done && !list.refusal ? loading('Profiles are being read') : nothing}
      ${list.done && !all.length ? html`<p class="empty">Nothing ends of itself: every token is renewed by a machine, or there is none.</p>` : nothing}
      ${lanes.length ? html`<div class="picture">${picture(lanes)}</div>
        ${all.length > lanes.length ? html`<p class="soft">${all.length - lanes.length} more end later, the last on ${onDate(all.at(-1).end)}.</p>` : nothing}` : nothing}
    </section>`;
}

const LANE = 44, TOP = 24;

/** A lane for each token from today to its end, as wide as there is room. */
function picture(lanes) {
  const days = Math.max(30, daysUntil(lanes.at(-1).end));
  const across = (day) => `${(100 * Math.min(day, days)) / days}%`;
  const height = TOP + lanes.length * LANE;
  const step = [7, 14, 30, 60, 90, 180, 365].find((one) => days / one < 5) ?? 730;
  const ticks = Array.from({ length: Math.ceil(days / step) }, (_, at) => at * step);
  return html`
    <svg width="100%" height=${height} role="group" aria-label="Each token from today to its end">
      ${ticks.map((day) => svg`<line class="grid" x1=${across(day)} x2=${across(day)} y1=${TOP - 6} y2=${height}/>
        <text class="soft" x=${across(day)} y="12" text-anchor=${day ? 'middle' : 'start'}>${day ? `${day} days` : 'today'}</text>`)}
      ${lanes.map(({ profile, token, end }, at) => {
        const left = daysUntil(end);
        const y = TOP + at * LANE;
        const tone = left <= 7 ? 'bad' : left <= 30 ? 'soon' : 'good';
        const said = `${profile.name}, ${KINDS[profile.kind].title}, token of ${token.owner}: ends ${fromNow(end)}, on ${onDate(end)}`;
        return svg`<a class="lane" data-tone=${tone} href="#/profiles/all/${encodeURIComponent(profile.id)}" aria-label=${said}>
          <title>${said}</title>
          <rect class="hit" y=${y} width="100%" height=${LANE}/>
          <text x="2" y=${y + 18}>${shortened(profile.name)}</text>
          <text class="soft" x="100%" y=${y + 18} text-anchor="end">${left === 1 ? '1 day' : `${left} days`}<tspan class="date">, ${onDate(end)}</tspan></text>
          <rect class="rail" x="2" y=${y + 26} width=${across(left)} height="10" rx="5"/>
        </a>`;
      })}
    </svg>`;
}

const shortened = (text) => (text.length > 24 ? `${text.slice(0, 23)}…` : text);

function ownTokens() {
  if (!health.own_tokens.length) return nothing;
  return html`
    <section aria-labelledby="own">
      <h2 id="own">What your tokens are used for</h2>
      <ul class="plain">${health.own_tokens.map(({ profile_id, use: name, state }) => html`
        <li class="line"><a href="#/profiles/owned/${encodeURIComponent(profile_id)}">${store.known(profile_id)?.name ?? profile_id}</a>
          <span class="soft">${USES[name]}</span>${badge(STANDINGS[state])}</li>`)}</ul>
    </section>`;
}
