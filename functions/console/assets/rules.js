// Rules, the second step of acquisition: what is searched for or read, and where. Power analysts make them and edit their
// own, administrators everybody's.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import * as session from './session.js';
import * as store from './store.js';
import { may } from './policy.js';
import { ask, loading, mark, say, submit, trouble } from './ui.js';
import { onDate } from './time.js';
import { KINDS, NETWORKS, USES, capitalized } from './words.js';

let update;
let items, refusal, refused;
let editing; // a rule, or a new one: { use }
let sought = '';
const SHOWN = 50; // profiles to choose from at once
const SEARCHED = ['facebook', 'instagram'];

export const use = (frame) => { update = frame.update; };
export const enter = () => load();

export async function load() {
  const read = [];
  try {
    for await (const page of api.pages('rules')) read.push(...page.items);
    [items, refusal] = [read, undefined];
    if (items.some(({ profile_ids }) => profile_ids)) store.list('all'); // their names
  } catch (reason) {
    refusal = reason;
  }
  update();
}

export const template = () => html`
  <div class="head"><h1 tabindex="-1">Rules</h1>
    ${may(session.person(), 'create_rule') && !editing ? html`<button type="button" class="main" @click=${() => edit({ use: 'search_acquisition' })}>Make a rule</button>` : nothing}</div>
  <p class="soft">A token that is allowed is used once a rule asks for it: a rule names a topic and a network to search, or the profiles whose
    private messages are acquired.</p>
  ${refusal ? trouble(refusal, load) : nothing}
  ${editing ? form() : nothing}
  ${!items && !refusal ? loading('Rules are being read') : nothing}
  ${items && !items.length && !editing ? html`<div class="empty"><p><b>There is no rule yet.</b></p><p class="soft">${may(session.person(), 'create_rule')
    ? 'Make the first one, and acquisition begins.' : 'Power analysts and administrators make them.'}</p></div>` : nothing}
  <ul class="plain">${(items ?? []).map(rule)}</ul>`;

function edit(one) {
  editing = one && { topic: '', network: SEARCHED[0], profile_ids: [], ...one };
  refused = undefined;
  sought = '';
  update();
  queueMicrotask(() => document.querySelector('form.sheet input')?.focus());
}

function rule(one) {
  const stands = one.owner === session.person().subject ? 'owner' : 'stranger';
  return html`
    <li class="card">
      ${one.network ? mark(one.network) : nothing}
      <span class="what"><b>${one.topic}</b><span class="soft">${USES[one.use]} ${one.network
        ? `at ${NETWORKS[one.network].title}` : `of ${(one.profile_ids ?? []).map((id) => store.known(id)?.name ?? id).join(', ')}`}
        · by ${one.owner}, ${onDate(one.created_at)}</span></span>
      ${may(session.person(), 'change_rule', stands) ? html`<span class="row">
        <button type="button" @click=${() => edit(one)}>Edit<span class="unseen"> ${one.topic}</span></button>
        <button type="button" class="danger quiet" @click=${() => remove(one)}>Delete…<span class="unseen"> ${one.topic}</span></button></span>` : nothing}
    </li>`;
}

function form() {
  const isNew = !editing.id;
  const reads = editing.use === 'private_messages';
  const set = (name) => ({ target }) => {
    editing[name] = target.value;
    update();
  };
  const save = (event) => submit(event, async () => {
    const { id, topic, use, network, profile_ids } = editing;
    const wanted = { topic, ...(reads ? { profile_ids } : { network }) };
    if (isNew) await api.post('rules', { ...wanted, use });
    else await api.patch(api.path('rules', id), wanted);
    say(isNew ? 'The rule is made.' : 'The rule is changed.');
    editing = undefined;
    await load();
  }, (reason) => {
    refused = reason;
    update();
  });
  return html`
    <form class="sheet" @submit=${save} aria-label=${isNew ? 'A new rule' : 'Edit the rule'}>
      <h2>${isNew ? 'A new rule' : 'Edit the rule'}</h2>
      ${refused ? trouble(refused) : nothing}
      <label>Topic<input name="topic" required maxlength="200" .value=${editing.topic} @input=${set('topic')}></label>
      ${isNew ? html`<fieldset><legend>What it is for</legend>${['search_acquisition', 'private_messages'].map((name) => html`
        <label class="tick"><input type="radio" name="use" value=${name} .checked=${editing.use === name} @change=${set('use')}> ${USES[name]}</label>`)}</fieldset>` : nothing}
      ${reads ? whose() : html`<label>Network to search<select name="network" @change=${set('network')}>${SEARCHED.map((network) =>
        html`<option value=${network} .selected=${editing.network === network}>${NETWORKS[network].title}</option>`)}</select></label>`}
      <div class="row"><button class="main">Save</button><button type="button" @click=${() => edit()}>Cancel</button></div>
    </form>`;
}

/** Whose private messages: those that are ticked first, then those that are found. */
function whose() {
  const all = store.list('all');
  const able = all.items.filter(({ kind }) => ['facebook_page', 'x_profile'].includes(kind));
  const ticked = editing.profile_ids;
  const fits = ({ name, id }) => `${name} ${id}`.toLowerCase().includes(sought.toLowerCase());
  const shown = [...able.filter(({ id }) => ticked.includes(id)), ...able.filter((one) => !ticked.includes(one.id) && fits(one)).slice(0, SHOWN)];
  const tick = (id) => (event) => {
    editing.profile_ids = event.target.checked ? [...ticked, id] : ticked.filter((one) => one !== id);
    update();
  };
  return html`<fieldset><legend>Profiles whose private messages are acquired</legend>
    <label><span class="unseen">Find a profile</span><input type="search" placeholder="Find a profile" .value=${sought} @input=${(event) => { sought = event.target.value; update(); }}></label>
    ${all.refusal ? trouble(all.refusal, () => store.again('all')) : nothing}
    ${shown.map(({ id, name, kind }) => html`<label class="tick"><input type="checkbox" .checked=${ticked.includes(id)} @change=${tick(id)}>
      ${name} <span class="soft">${capitalized(KINDS[kind].title)}</span></label>`)}
    ${all.done ? nothing : html`<p class="soft">Profiles are being read…</p>`}
    ${all.done && !shown.length ? html`<p class="soft">No Facebook Page and no X profile is connected${sought ? ' that is called so' : ''}.</p>` : nothing}
  </fieldset>`;
}

const remove = (one) => ask({
  title: `Delete “${one.topic}”?`,
  body: html`<p>Nothing is acquired by this rule from then on. Tokens and their switches stay as they are.</p>`,
  verb: 'Delete the rule',
  act: async () => {
    await api.remove(api.path('rules', one.id));
    say('The rule is deleted.');
    await load();
  },
});
