// The lists of profiles, read page by page and kept until something changes them.

import * as api from './api.js';

export const LISTS = {
  owned: { title: 'Owned', none: 'You own no profile yet.', next: 'Add one: sign in to an account of yours at a network.' },
  shared: { title: 'Shared with me', none: 'Nobody shares a profile with you.', next: 'Its owners decide with whom a profile is shared.' },
  without_owners: { title: 'Without owners', none: 'Every profile has an owner.', next: 'What somebody leaves behind is found here, to be claimed.' },
  all: { title: 'All', none: 'Nothing is connected yet.', next: 'Add the first profile: sign in to an account at a network.' },
};

const lists = new Map();
let changed = () => {};

/** Who wants to know that a list has grown. */
export const onChange = (listener) => { changed = listener; };

class List {
  items = [];
  done = false;
  refusal;

  async read(name) {
    this.refusal = undefined;
    this.items = [];
    try {
      for await (const page of api.pages('profiles', { list: name })) {
        this.items = this.items.concat(page.items);
        changed();
      }
      this.done = true;
    } catch (refusal) {
      this.refusal = refusal;
    }
    changed();
  }
}

/** A list, which begins to be read when it is first asked for. */
export function list(name) {
  if (!lists.has(name)) {
    lists.set(name, new List());
    lists.get(name).read(name);
  }
  return lists.get(name);
}

/** Reads a list again that was not read to its end. */
export const again = (name) => lists.get(name)?.read(name);

/** A profile as it is now; it takes its place in every list. */
export async function read(id) {
  return keep(await api.get(api.path('profiles', id)));
}

export function keep(profile) {
  for (const list of lists.values()) list.items = list.items.map((one) => (one.id === profile.id ? profile : one));
  changed();
  return profile;
}

/** A profile that some list has already. */
export function known(id) {
  for (const { items } of lists.values()) {
    const found = items.find((one) => one.id === id);
    if (found) return found;
  }
}

/** Whether only a person brings a token back to life. */
export const isOver = ({ state }) => ['expired', 'needs_reauth'].includes(state);

/** Who owns what, or what there is, has changed: lists are read again. */
export function forget() {
  lists.clear();
  changed();
}
