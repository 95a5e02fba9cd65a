// With whom a profile is shared: its owners say so, everybody else reads it.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import { may } from './policy.js';
import { say, submit, trouble } from './ui.js';

let refused; // of which profile, and why

const lines = (text) => [...new Set(text.split('\n').map((line) => line.trim()).filter(Boolean))];

export function sharing({ profile, person, stands, kept, update }) {
  const { users, groups, everybody } = profile.shared_with;
  const heading = html`<h3 id="sharing">Shared with</h3>`;
  if (!may(person, 'share', stands)) {
    const names = [...(everybody ? ['everybody who is responder or manager'] : []), ...groups.map((group) => `the group ${group}`), ...users];
    return html`<section class="kind" aria-labelledby="sharing">${heading}<p>${names.join(', ') || 'nobody'}</p></section>`;
  }
  const save = (event) => submit(event, async (form) => {
    const shared_with = { everybody: form.has('everybody'), groups: lines(form.get('groups')), users: lines(form.get('users')) };
    kept(await api.patch(api.path('profiles', profile.id), { shared_with }));
    say('Saved. Whom it is shared with may have it used for them from now on.');
  }, (reason) => {
    refused = reason && { id: profile.id, reason };
    update();
  });
  return html`
    <section class="kind" aria-labelledby="sharing">
      ${heading}
      <details ?open=${everybody || groups.length + users.length > 0}>
        <summary>${everybody || groups.length + users.length ? 'Change with whom it is shared' : 'Nobody yet. Share it…'}</summary>
        ${refused?.id === profile.id ? trouble(refused.reason) : nothing}
        <form @submit=${save}>
          <p class="soft">They may have it used on their behalf, and may not manage, delete or share it.</p>
          <label class="tick"><input type="checkbox" name="everybody" .checked=${everybody}> Everybody who is responder or manager</label>
          <label>Groups, one a line<textarea name="groups" rows="2" .value=${groups.join('\n')}></textarea></label>
          <label>People by their id, one a line<textarea name="users" rows="2" .value=${users.join('\n')}></textarea></label>
          <button class="main">Save sharing</button>
        </form>
      </details>
    </section>`;
}
