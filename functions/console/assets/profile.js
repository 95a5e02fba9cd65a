// One profile: its tokens, each with its state, its uses and its switches; with whom it is shared; and its ends.
//
// What somebody may do is offered and nothing else. A switch is turned by Save and not by the tick, so the consequence is
// read first.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import * as session from './session.js';
import * as store from './store.js';
import { depart } from './connect.js';
import { sharing } from './sharing.js';
import { may, relation } from './policy.js';
import { ask, badge, face, loading, say, submit, time, trouble } from './ui.js';
import { at, onDate } from './time.js';
import { CONNECTABLE, HINDRANCES, KINDS, NETWORKS, PROFILE_STATES, REASONS, REVOCATIONS, STATES, SWITCHES, TOKENS, USES, tokensOf } from './words.js';

let update;
let id, profile, refusal, acted;
const drafts = new Map(); // token id and switch → what is ticked and not saved

export const use = (frame) => { update = frame.update; };

export function open(wanted) {
  id = wanted;
  profile = store.known(id);
  refusal = acted = undefined;
  drafts.clear();
  load();
}

export async function load() {
  if (!id) return;
  const wanted = id;
  try {
    take(await store.read(wanted));
    if (wanted === id) refusal = undefined;
  } catch (reason) {
    if (wanted === id) refusal = reason;
  }
  update();
}

/** Takes what is known of a profile now, unless another was opened meanwhile. */
function take(known) {
  if (known.id === id) profile = known;
}

export function template(back) {
  const close = html`<a class="back" href=${back}><span aria-hidden="true">←</span> All profiles</a>`;
  if (refusal && !profile) return html`${close}${trouble(refusal, load)}`;
  if (!profile) return html`${close}${loading('The profile is being read')}`;
  const person = session.person();
  const stands = relation(person, profile);
  const kinds = [...new Set([...tokensOf(profile.kind).map(({ token }) => token), ...profile.tokens.map(({ token }) => token)])];
  return html`
    ${close}
    <header class="about">
      ${face(profile)}
      <div><h2 tabindex="-1">${profile.name}</h2>
        <p class="soft">${KINDS[profile.kind].title} · <code>${profile.id}</code></p></div>
      ${badge(PROFILE_STATES[profile.state])}
    </header>
    ${refusal ? trouble(refusal, load) : nothing}
    ${acted ? trouble(acted) : nothing}
    <p>${owners(stands)}</p>
    ${kinds.map((kind) => section(kind, person, stands))}
    ${sharing({ profile, person, stands, update, kept: (changed) => take(store.keep(changed)) })}
    ${ends(person, stands)}`;
}

function owners(stands) {
  if (stands === 'unowned') return 'Nobody owns it: whoever can sign in to the account at the network may claim it.';
  const others = profile.owners.filter((owner) => owner !== session.person().subject);
  if (stands !== 'owner') return `Owned by ${profile.owners.join(', ')}.`;
  return others.length ? `Owned by you and ${others.join(', ')}, with equal rights.` : 'Owned by you.';
}

/** What one kind of token is for, everybody's tokens of that kind, and what the person can do. */
function section(kind, person, stands) {
  const tokens = profile.tokens.filter((token) => token.token === kind);
  const mine = tokens.find((token) => token.owner === person.subject);
  const gives = CONNECTABLE.find((one) => one.kind === profile.kind && one.token === kind)?.gives;
  return html`
    <section class="kind" aria-labelledby="kind-${kind}">
      <h3 id="kind-${kind}">${TOKENS[kind].title}</h3>
      <p class="soft">${gives}</p>
      ${mine ? own(mine, person) : nothing}
      ${tokens.filter((token) => token !== mine).map(others)}
      ${!mine && may(person, 'connect', stands) ? html`
        <p class="soft">${tokens.length ? 'You have no token of your own here.' : 'There is no token yet.'}</p>
        <button type="button" @click=${() => begin(kind)}>${stands === 'owner' ? 'Add your token' : 'Claim with your sign-in'}</button>` : nothing}
    </section>`;
}

const others = (token) => html`
  <div class="token"><div class="line"><b>Token of ${token.owner}</b>${badge(STATES[token.state])}</div>${facts(token)}</div>`;

function own(token, person) {
  const mayChange = may(person, 'change_token', relation(person, profile));
  return html`
    <div class="token mine">
      <div class="line"><b>Your token</b>${badge(STATES[token.state])}</div>
      ${facts(token)}
      ${mayChange ? html`
        ${Object.keys(token.allow).filter((name) => name in token.uses).map((name) => toggle(token, name))}
        <div class="row">
          <button type="button" class=${store.isOver(token) || token.state === 'expiring' ? 'main' : ''}
            @click=${() => begin(token.token)}>Reauthenticate your token</button>
          <button type="button" class="danger quiet" @click=${() => remove(token)}>Delete your token…</button>
        </div>` : nothing}
    </div>`;
}

const facts = (token) => html`
  ${token.reason ? html`<p>${REASONS[token.reason]}</p>` : nothing}
  ${token.cooling_until ? html`<p>The network limits it. It is used again ${time(token.cooling_until)}.</p>` : nothing}
  <dl>
    <dt>A person is needed</dt>
    <dd>${store.isOver(token) ? 'now' : token.expires_at ? html`${time(token.expires_at)} <span class="soft">(${onDate(token.expires_at)})</span>` : 'not as long as it is renewed'}</dd>
    <dt>Signed in</dt><dd>${at(token.connected_at)}</dd>
    <dt>Uses</dt>
    <dd><ul class="uses">${Object.entries(token.uses).map(([name, readiness]) =>
      html`<li data-ready=${readiness}>${USES[name]} <span class="soft">${HINDRANCES[readiness]}</span></li>`)}</ul></dd>
    ${token.missing_scopes.length ? html`<dt>Not granted</dt>
      <dd>${token.missing_scopes.map((scope) => html`<code>${scope}</code> `)}<span class="soft">Reauthenticate, and grant everything.</span></dd>` : nothing}
  </dl>
  <details><summary>What the network granted</summary><p>${token.scopes.map((scope) => html`<code>${scope}</code> `)}</p></details>`;

function toggle(token, name) {
  const { title, on, off } = SWITCHES[name];
  const key = `${token.id} ${name}`;
  const saved = token.allow[name];
  const ticked = drafts.get(key) ?? saved;
  const tick = (event) => {
    drafts.set(key, event.target.checked);
    update();
  };
  const save = (event) => submit(event, async () => {
    await api.patch(api.path('profiles', profile.id, 'tokens', token.id), { allow: { [name]: ticked } });
    await load();
    drafts.delete(key);
    say(ticked ? `Saved. ${rule(name)}` : 'Saved. It is not used for that any more.');
  }, (reason) => {
    acted = reason;
    update();
  });
  return html`
    <form class="switch" @submit=${save}>
      <fieldset>
        <legend>${title}</legend>
        <label class="tick"><input type="checkbox" name=${name} .checked=${ticked} @change=${tick}> Allow</label>
        <p class="soft">${ticked ? on : off}</p>
        <button class=${ticked === saved ? '' : 'main'}>Save</button>
      </fieldset>
    </form>`;
}

const rule = (name) => (may(session.person(), 'create_rule')
  ? 'It is used once a rule asks for it: see Rules.'
  : `It is used once a power analyst has made a rule for ${name === 'private_messages' ? 'this profile' : 'its network'}.`);

function ends(person, stands) {
  const giveUp = may(person, 'give_up', stands);
  const deletes = may(person, 'delete_profile', stands);
  if (!giveUp && !deletes) return nothing;
  return html`
    <section class="kind" aria-labelledby="ends">
      <h3 id="ends">Leave or delete</h3>
      <div class="row">
        ${giveUp ? html`<button type="button" class="danger quiet" @click=${leave}>Give up ownership…</button>` : nothing}
        ${deletes ? html`<button type="button" class="danger quiet" @click=${destroy}>Delete the profile…</button>` : nothing}
      </div>
    </section>`;
}

async function begin(kind) {
  acted = undefined;
  update();
  try {
    await depart({ profile_id: profile.id, token: kind });
  } catch (reason) {
    acted = reason;
    update();
  }
}

/** What would live on no token any more, were these deleted. */
function lost(gone) {
  const left = profile.tokens.filter((token) => !gone.includes(token));
  const lives = (tokens, name) => tokens.some((token) => token.uses[name] === 'ready' && name in SWITCHES);
  const names = Object.keys(SWITCHES).filter((name) => lives(gone, name) && !lives(left, name));
  return names.map((name) => html`<p class="warn"><b>${name === 'private_messages'
    ? `This is the last valid token for private messages of ${profile.name}.`
    : `This is the last valid token of ${profile.name} for search acquisition.`}</b>
    ${name === 'private_messages' ? 'Without one they stay at the network and are not acquired.' : 'What is posted while there is none at all is lost for good.'}</p>`);
}

/** What came of an end, in the API's words. */
const outcome = (what, { warnings, revocation }) => [what, ...warnings, REVOCATIONS[revocation]].filter(Boolean).join(' ');

const remove = (token) => ask({
  title: `Delete your ${TOKENS[token.token].name}?`,
  body: html`<p>It stops being used at once and is revoked at ${NETWORKS[profile.network].title}. The profile stays.</p>${lost([token])}`,
  verb: 'Delete the token',
  act: async () => {
    const deleted = await api.remove(api.path('profiles', profile.id, 'tokens', token.id));
    say(outcome('The token is deleted.', deleted), deleted.warnings.length ? 'soon' : 'good');
    store.forget();
    await load();
  },
});

const leave = () => ask({
  title: `Give up ${profile.name}?`,
  body: html`<p>You will be no owner any more, and your tokens of it end and are revoked.
    ${profile.owners.length === 1 ? 'You are its last owner: it stays behind without owners and is shared with nobody.' : 'Its other owners keep it.'}</p>
    ${lost(profile.tokens.filter((token) => token.owner === session.person().subject))}`,
  verb: 'Give it up',
  act: async () => {
    const left = await api.patch(api.path('profiles', profile.id), { owner: false });
    say(outcome('You gave the profile up.', left.ended ?? { warnings: [] }));
    take(left);
    store.forget();
  },
});

const destroy = () => ask({
  title: `Delete ${profile.name}?`,
  body: html`<p>The profile goes with all its tokens${profile.tokens.some(({ owner }) => owner !== session.person().subject) ? ', those of its other owners included' : ''}. They are revoked at the network.</p>${lost(profile.tokens)}`,
  verb: 'Delete the profile',
  act: async () => {
    const deleted = await api.remove(api.path('profiles', profile.id));
    const told = outcome(`${profile.name} is deleted.`, deleted);
    addEventListener('hashchange', () => say(told, deleted.warnings.length ? 'soon' : 'good'), { once: true });
    id = profile = undefined;
    store.forget();
    location.hash = '#/profiles';
  },
});
