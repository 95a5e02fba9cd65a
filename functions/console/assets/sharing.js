// With whom a profile is shared: its owners say so, everybody else reads it.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import { may } from './policy.js';
import { say, submit, trouble } from './ui.js';

let draft = {}; // of the profile `id`: what is `written` and not saved, and why that was `refused`

const lines = (text) => [...new Set(text.split('\n').map((line) => line.trim()).filter(Boolean))];

export function sharing({ profile, person, stands, kept, update }) {
  const { id, shared_with: { users, groups, everybody } } = profile;
  const heading = html`<h3 id="sharing">Shared with</h3>`;
  const names = [...(everybody ? ['everybody who is responder or manager'] : []), ...groups.map((group) => `the group ${group}`), ...users];
  if (!may(person, 'share', stands)) {
    return html`<section class="kind" aria-labelledby="sharing">${heading}<p>${names.join(', ') || 'nobody'}</p></section>`;
  }
  if (draft.id !== id) draft = { id };
  const written = { open: names.length > 0, everybody, groups: groups.join('\n'), users: users.join('\n'), ...draft.written };
  const write = (name, property) => ({ target }) => {
    draft.written = { ...draft.written, [name]: target[property] };
    update();
  };
  const save = (event) => submit(event, async () => {
    const shared_with = { everybody: written.everybody, groups: lines(written.groups), users: lines(written.users) };
    kept(await api.patch(api.path('profiles', id), { shared_with }));
    if (draft.id === id) draft = {};
    say('Saved. Whom it is shared with may have it used for them from now on.');
  }, (reason) => {
    if (draft.id === id) draft.refused = reason;
    update();
  });
  return html`
    <section class="kind" aria-labelledby="sharing">
      ${heading}
      <details .open=${written.open} @toggle=${write('open', 'open')}>
        <summary>${names.length ? 'Change with whom it is shared' : 'Nobody yet. Share it…'}</summary>
        ${draft.refused ? trouble(draft.refused) : nothing}
        <form @submit=${save}>
          <p class="soft">They may have it used on their behalf, and may not manage, delete or share it.</p>
          <label class="tick"><input type="checkbox" name="everybody" .checked=${written.everybody} @change=${write('everybody', 'checked')}> Everybody who is responder or manager</label>
          <label>Groups, one a line<textarea name="groups" rows="2" .value=${written.groups} @input=${write('groups', 'value')}></textarea></label>
          <label>People by their id at the identity provider, one a line<textarea name="users" rows="2" .value=${written.users} @input=${write('users', 'value')}></textarea></label>
          <button class="main">Save sharing</button>
        </form>
      </details>
    </section>`;
}
