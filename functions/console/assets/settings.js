// What holds for the whole organisation, for administrators.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import * as session from './session.js';
import * as store from './store.js';
import { may } from './policy.js';
import { ask, loading, say, submit, trouble } from './ui.js';
import { onDate } from './time.js';
import { TROUBLES } from './words.js';

let update;
let settings, refusal, refused;

export const use = (frame) => { update = frame.update; };
export function enter() {
  refused = undefined;
  load();
}

export async function load() {
  try {
    settings = await api.get('settings');
    refusal = undefined;
  } catch (reason) {
    refusal = reason;
  }
  update();
}

const several = (text) => text.split(/[\s,]+/).filter(Boolean);

const save = (event) => submit(event, async (form) => {
  settings = await api.put('settings', {
    ladder_days: several(form.get('ladder_days')).map(Number),
    administrators: several(form.get('administrators')),
    privacy_url: form.get('privacy_url').trim() || null,
    reauthenticate_url: form.get('reauthenticate_url').trim() || null,
  });
  say('Saved. A changed ladder counts from now.');
}, (reason) => {
  refused = reason;
  update();
});

export const template = () => html`
  <h1 tabindex="-1">Settings</h1>
  ${refusal ? trouble(refusal, load) : nothing}
  ${!settings && !refusal ? loading('The settings are being read') : nothing}
  ${settings ? html`
    <form class="sheet" @submit=${save}>
      ${refused ? trouble(refused) : nothing}
      <label>Days before the end on which a token's owner is warned
        <input name="ladder_days" required inputmode="numeric" .value=${settings.ladder_days.join(', ')} aria-describedby="ladder-help"></label>
      <p class="soft" id="ladder-help">One to ten different numbers from 1 to 365, and again on the day itself.</p>
      <label>E-mail addresses that are told of every token, one a line
        <textarea name="administrators" rows="3" .value=${settings.administrators.join('\n')}></textarea></label>
      ${settings.suppressed?.length ? html`<div class="warn"><p>These are not written to any more. Mend them and save: whatever
        stands here then is written to again.</p>
        <ul>${settings.suppressed.map(({ address, reason, since }) => html`<li><b>${address}</b>: ${TROUBLES[reason]}, since ${onDate(since)}</li>`)}</ul></div>` : nothing}
      <label>Your privacy statement <span class="soft">(https; shown before every sign-in at a network)</span>
        <input name="privacy_url" type="url" .value=${settings.privacy_url ?? ''} placeholder="https://"></label>
      <label>Where mails lead <span class="soft">(empty: to this console)</span>
        <input name="reauthenticate_url" type="url" .value=${settings.reauthenticate_url ?? ''}></label>
      <div class="row"><button class="main">Save</button></div>
    </form>
    ${people()}` : nothing}`;

const people = () => html`
  <section class="sheet" aria-labelledby="leaver">
    <h2 id="leaver">Somebody leaves</h2>
    <p>Take them out of your identity provider first. Removing them here ends their access at once, with their tokens and ownerships; their
      profiles stay behind without owners.</p>
    <form @submit=${(event) => { event.preventDefault(); leaver(event.target); }}>
      <label>Their id at the identity provider<input name="sub" required maxlength="255"></label>
      <div class="row"><button class="danger quiet">Remove…</button></div>
    </form>
  </section>`;

function leaver(form) {
  const sub = new FormData(form).get('sub').trim();
  const isMe = !may(session.person(), 'remove_user', sub === session.person().subject ? 'owner' : 'stranger');
  if (isMe) return say('Nobody removes themself: let another administrator do it.', 'bad');
  ask({
    title: `Remove ${sub}?`,
    body: html`<p>Their access tokens are refused from that moment, and their tokens end and are revoked at the networks. This cannot be undone.</p>`,
    verb: `Remove ${sub}`,
    act: async () => {
      const gone = await api.remove(api.path('users', sub));
      say(`${sub} is removed: ${gone.tokens} tokens ended, ${gone.without_owners} profiles are without owners now.${gone.complete ? '' : ' The rest ends by itself within minutes.'}`);
      form.reset();
      store.forget();
    },
  });
}
