// Connecting: what to connect, the way to the network, and what came back.
//
// The completion code that a browser brings back is taken out of the address and known to the history entry that it came
// with, so a reload goes on with it. It is of use to the person who began the session and to nobody else.

import { html, nothing } from './lit-html.js';
import * as api from './api.js';
import * as session from './session.js';
import * as store from './store.js';
import { may } from './policy.js';
import { ask, badge, face, isWeb, loading, mark, submit, trouble } from './ui.js';
import { atClock, now } from './time.js';
import { CONNECTABLE, ENDINGS, KINDS, NETWORKS, PROFILE_STATES, SWITCHES, TOKENS, WITHOUT_ROLE, capitalized } from './words.js';

let update;
export const use = (frame) => { update = frame.update; };

/** Begins a connect session and leaves for the network; before that shows the organisation's privacy statement, if any. */
export async function depart(wish) {
  const begun = await api.post('connect-sessions', { ...wish, return_url: `${location.origin}/console` });
  if (!isWeb(begun.connect_url)) throw new api.Refusal({ title: 'The link leads nowhere', detail: 'A sign-in begins at an address of the web. Tell your operator.' });
  const leave = () => location.assign(begun.connect_url);
  if (!isWeb(begun.privacy_url)) return leave();
  const network = NETWORKS[KINDS[begun.kind].network].title;
  ask({
    title: 'Before you sign in',
    body: html`<p>Your organisation says how it uses what you connect in its
      <a href=${begun.privacy_url} target="_blank" rel="noreferrer noopener">privacy statement</a>.</p>`,
    verb: `Sign in at ${network}`,
    danger: false,
    act: leave,
  });
}

/** The page to which what stands in a query leads. */
export function carried({ query }) {
  const parameters = new URLSearchParams(query);
  if (parameters.has('connect_session')) return '#/returned';
  const [profile, token] = ['profile', 'token'].map((name) => parameters.get(name));
  if (profile && token) return `#/reauthenticate/${encodeURIComponent(profile)}/${encodeURIComponent(token)}`;
}

/** What the history entry of that page knows. */
export function backWith({ query, back }) {
  const parameters = new URLSearchParams(query);
  if (!parameters.has('connect_session')) return back;
  const [id, code, error] = ['connect_session', 'completion_code', 'error'].map((name) => parameters.get(name));
  return { returned: { id, code, error } };
}

/** Choosing what to connect. */
export const begin = {
  enter() {
    this.refusal = undefined;
  },

  template() {
    if (!may(session.person(), 'connect')) return notAllowed();
    return html`
      <a class="back" href="#/profiles"><span aria-hidden="true">←</span> All profiles</a>
      <h1 tabindex="-1">Add a profile</h1>
      <p>Choose what to connect. You sign in at the network itself, which asks what you want to grant; your password stays there.</p>
      ${this.refusal ? trouble(this.refusal) : nothing}
      <form class="choice" @submit=${(event) => submit(event, (form) => this.go(form), (reason) => this.refused(reason))}>
        <fieldset>
          <legend class="unseen">What to connect</legend>
          ${CONNECTABLE.map(({ kind, token, gives }, at) => html`
            <label class="card">
              <input type="radio" name="what" value="${kind} ${token}" required ?checked=${at === 0}>
              ${mark(KINDS[kind].network)}
              <span><b>${capitalized(KINDS[kind].title)}</b> <span class="soft">${TOKENS[token].name}</span>
                <span class="gives">${gives}</span></span>
            </label>`)}
        </fieldset>
        <p class="soft">Nothing is used for search acquisition or private messages before you allow it, and you can end everything at
          any time. At least two tokens are recommended for acquisition: more are faster, and none is missed when one ends.</p>
        <button class="main">Sign in at the network</button>
      </form>`;
  },

  async go(form) {
    const [kind, token] = form.get('what').split(' ');
    await depart({ kind, token });
  },

  refused(reason) {
    this.refusal = reason;
    update();
  },
};

const notAllowed = () => html`
  <h1 tabindex="-1">Add a profile</h1>
  <p>Your role allows you to look, not to connect. Ask an administrator for the role responder or manager.</p>`;

/** Where the links in mails lead. Opening one begins nothing: a mail scanner that follows it changes nothing. */
export const again = {
  enter(profile, token) {
    // a token is given by its kind or by its id, `<kind>-<owner>`
    Object.assign(this, { id: profile, token: token?.split('-')[0], profile: undefined, refusal: undefined });
    this.load();
  },

  async load() {
    const { id } = this;
    try {
      const profile = await store.read(id);
      if (id === this.id) Object.assign(this, { profile, refusal: undefined });
    } catch (reason) {
      if (id === this.id) this.refusal = reason;
    }
    update();
  },

  template() {
    const { profile, token } = this;
    return html`
      <h1 tabindex="-1">Reauthenticate</h1>
      ${this.refusal ? trouble(this.refusal, profile ? undefined : () => this.load()) : nothing}
      ${!profile && !this.refusal ? loading('The profile is being read') : nothing}
      ${profile ? html`
        <div class="about">${face(profile)}<div><h2>${profile.name}</h2><p class="soft">${KINDS[profile.kind].title}, ${TOKENS[token]?.name}</p></div>
          ${badge(PROFILE_STATES[profile.state])}</div>
        <p>Sign in again at ${NETWORKS[profile.network].title}, as ${profile.name}. The token keeps its name and its switches.</p>
        <form @submit=${(event) => submit(event, () => depart({ profile_id: profile.id, token }), (reason) => { this.refusal = reason; update(); })}>
          <button class="main">Sign in at ${NETWORKS[profile.network].title}</button>
          <a class="button" href="#/profiles/owned/${encodeURIComponent(profile.id)}">Look at it first</a>
        </form>` : nothing}`;
  },
};

/** What came back from the network: completed, to be chosen from, or ended without a token. */
export const returned = {
  enter() {
    Object.assign(this, { step: 'looking', back: history.state?.returned, session: undefined, refusal: undefined, profiles: [] });
    this.load();
  },

  async load() {
    const { back } = this;
    this.refusal = undefined;
    if (this.step !== 'choosing') this.step = 'looking'; // what is ticked stays
    if (!back) {
      this.step = 'nothing';
      return update();
    }
    update();
    try {
      this.session = await api.get(api.path('connect-sessions', back.id));
      if (back.error || this.session.error) this.step = 'ended';
      else if (this.session.status === 'completed') this.step = 'nothing';
      else if (this.session.candidates.length) this.step = 'choosing';
      else await this.complete();
    } catch (reason) {
      this.refusal = reason;
    }
    this.noted = now();
    update();
  },

  async complete(selected) {
    const { id, code } = this.back;
    const { profiles } = await api.post(api.path('connect-sessions', id, 'complete'), { completion_code: code, ...(selected && { selected }) });
    Object.assign(this, { profiles, step: 'done' });
    history.replaceState(null, '');
    store.forget();
  },

  template() {
    return html`<h1 tabindex="-1">${{
      looking: 'Back from the network', choosing: 'What shall be connected?', done: 'Connected', ended: 'Nothing was connected', nothing: 'Nothing is waiting here',
    }[this.step]}</h1>${this[this.step]()}`;
  },

  looking() {
    return this.refusal ? html`${trouble(this.refusal, () => this.load())}${onwards()}` : loading('The sign-in is being completed');
  },

  nothing() {
    return html`<p>This sign-in is completed or was given up. ${onwards()}</p>`;
  },

  ended() {
    const { code, detail } = this.session.error ?? { code: this.back.error, detail: 'The sign-in ended without a token. Start again.' };
    const { kind, token, profile_id } = this.session;
    const minutes = code === 'rate_limited' ? Number(/(\d+) minutes/.exec(detail)?.[1] ?? 15) : 0;
    const wish = profile_id ? { profile_id, token } : { kind, token };
    return html`
      <section class="note" data-tone="bad" role="alert">
        <h2>${ENDINGS[code] ?? 'It ended without a token'}</h2>
        <p>${detail}</p>
        ${minutes ? html`<p><b>Come back at ${atClock(this.noted + minutes * 60_000)}.</b> Trying earlier does not help.</p>` : nothing}
        ${this.refusal ? trouble(this.refusal) : nothing}
        <p class="row">
          <button type="button" class=${minutes ? '' : 'main'} @click=${() => this.restart(wish)}>Start again</button>
          <a class="button" href="#/profiles">To the profiles</a></p>
        <p class="soft">Code: <code>${code}</code></p>
      </section>`;
  },

  async restart(wish) {
    this.refusal = undefined;
    update();
    try {
      await depart(wish);
    } catch (reason) {
      this.refusal = reason;
      update();
    }
  },

  choosing() {
    const { candidates, expires_at, kind } = this.session;
    const some = candidates.some(({ reason }) => !reason);
    return html`
      <p>${some ? `Each ${KINDS[kind].title} that you tick is connected with a token of its own, all of them or none.`
        : 'Whoever signed in can connect none of these. Have the role on one of them changed at the network, or sign in there as somebody else.'}</p>
      ${this.refusal ? trouble(this.refusal) : nothing}
      <form class="choice" @submit=${(event) => submit(event, (form) => this.complete(form.getAll('selected')), (reason) => { this.refusal = reason; update(); })}>
        <fieldset>
          <legend class="unseen">Pages</legend>
          ${candidates.map(({ profile_id, name, reason }) => html`
            <label class="card" data-off=${reason ? 'yes' : nothing}>
              <input type="checkbox" name="selected" value=${profile_id} ?disabled=${Boolean(reason)}>
              ${face({ kind, name })}
              <span><b>${name}</b> <code class="soft">${profile_id}</code>
                ${reason ? html`<span class="gives">Cannot be connected. ${WITHOUT_ROLE}</span>` : nothing}</span>
            </label>`)}
        </fieldset>
        <p class="soft">The sign-in waits until ${atClock(expires_at)}; after that, sign in at the network again.</p>
        <div class="row">${some ? html`<button class="main">Connect what is ticked</button>` : nothing}<a class="button" href="#/profiles">Not now</a></div>
      </form>`;
  },

  done() {
    const switched = this.profiles.some((profile) => profile.tokens.some((token) => Object.keys(token.uses).some((name) => name in SWITCHES && !token.allow[name])));
    return html`
      <p>What the network granted is sealed and kept alive from now on.</p>
      ${this.profiles.map((profile) => html`
        <a class="profile alone" href="#/profiles/owned/${encodeURIComponent(profile.id)}">${face(profile)}
          <span class="what"><b>${profile.name}</b><span class="soft">${KINDS[profile.kind].title}</span></span>${badge(PROFILE_STATES[profile.state])}</a>`)}
      ${switched ? html`<p><b>One step is left:</b> open it and decide what it may be used for. Until you allow it, nothing is acquired with it.</p>` : nothing}
      <p class="row"><a class="button main" href="#/profiles/owned/${encodeURIComponent(this.profiles[0].id)}">Open ${this.profiles[0].name}</a>
        <a class="button" href="#/connect">Add another</a></p>`;
  },
};

const onwards = () => html`<a class="button" href="#/profiles">To the profiles</a>`;
