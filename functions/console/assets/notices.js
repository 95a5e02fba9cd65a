// What the person was told, newest first, each with one click to the cure.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import * as session from './session.js';
import { depart } from './connect.js';
import { may } from './policy.js';
import { loading, mark, say, time, trouble } from './ui.js';
import { onDate } from './time.js';
import { NETWORKS, NOTICES, REASONS, TROUBLES } from './words.js';

let update;
let items, refusal, acted;
let mail; // why nothing is mailed to the person
let withDismissed = false;

export const use = (frame) => { update = frame.update; };
export function enter() {
  acted = undefined;
  load();
}
export const pending = () => items?.filter(({ dismissed }) => !dismissed).length ?? 0;

export async function load() {
  const read = [];
  try {
    for await (const page of api.pages('notices')) {
      read.push(...page.items);
      mail = page.mail;
    }
    [items, refusal] = [read, undefined];
  } catch (reason) {
    refusal = reason;
  }
  update();
}

export function template() {
  const shown = (items ?? []).filter(({ dismissed }) => withDismissed || !dismissed);
  const aside = (items ?? []).length - pending();
  return html`
    <h1 tabindex="-1">Notices</h1>
    ${refusal ? trouble(refusal, load) : nothing}
    ${acted ? trouble(acted) : nothing}
    ${mail ? html`<p class="warn">You read these here alone: nothing is mailed to you since ${onDate(mail.since)}, because of your address: ${TROUBLES[mail.reason]}.
      It is written to again once your identity provider has another one.</p>` : nothing}
    ${!items && !refusal ? loading('Notices are being read') : nothing}
    ${items && !shown.length ? html`<div class="empty"><p><b>Nothing needs you.</b></p>
      <p class="soft">When a token is about to end, or is found dead, you read of it here and by mail.</p></div>` : nothing}
    <ul class="plain">${shown.map(notice)}</ul>
    ${aside ? html`<p><label class="tick"><input type="checkbox" .checked=${withDismissed} @change=${(event) => { withDismissed = event.target.checked; update(); }}>
      Show also what was put aside (${aside})</label></p>` : nothing}`;
}

function notice(one) {
  const { kind, name, network, profile_id, token_id, owner, reason, detail, expires_at, days_left, at, dismissed } = one;
  const about = name ?? (network && NETWORKS[network].title) ?? profile_id;
  const tone = ['token_expiring', 'acquisition_yellow'].includes(kind) ? 'soon' : 'bad';
  const cure = token_id && owner === session.person().subject && may(session.person(), 'connect');
  return html`
    <li class="note" data-tone=${tone} data-aside=${dismissed ? 'yes' : nothing}>
      <h2>${network ? mark(network) : nothing}${about}: ${NOTICES[kind]}</h2>
      <p>${[
        expires_at && (kind === 'token_expiring' ? `It ends on ${onDate(expires_at)}${days_left == null ? '' : `, ${days_left === 1 ? 'a day' : `${days_left} days`} after this was written`}.` : `It ended on ${onDate(expires_at)}.`),
        reason && REASONS[reason],
        detail,
        owner && owner !== session.person().subject && `It is the token of ${owner}, who was told too.`,
      ].filter(Boolean).join(' ')} <span class="soft">${time(at)}</span></p>
      <div class="row">
        ${cure ? html`<button type="button" class="main" @click=${() => go(profile_id, token_id)}>Reauthenticate</button>` : nothing}
        ${network && may(session.person(), 'connect') ? html`<a class="button main" href="#/connect">Add a token</a>` : nothing}
        ${profile_id ? html`<a class="button" href="#/profiles/all/${encodeURIComponent(profile_id)}">Look at it</a>` : html`<a class="button" href="#/health">See health</a>`}
        ${dismissed ? nothing : html`<button type="button" class="quiet" @click=${() => dismiss(one)}>Put aside</button>`}
      </div>
    </li>`;
}

async function go(profile_id, token_id) {
  acted = undefined;
  update();
  try {
    await depart({ profile_id, token: token_id.split('-')[0] });
  } catch (reason) {
    acted = reason;
    update();
  }
}

async function dismiss({ id }) {
  acted = undefined;
  try {
    const aside = await api.post(api.path('notices', id, 'dismiss'));
    items = items.map((one) => (one.id === id ? aside : one));
    say('Put aside.');
  } catch (reason) {
    acted = reason;
  }
  update();
}
