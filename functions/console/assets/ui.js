// The pieces that pages are made of.

import { html, nothing, render } from './lit-html.js';
import { KINDS, NETWORKS } from './words.js';
import { at, fromNow, wait } from './time.js';

const GLYPHS = { good: '●', soon: '▲', bad: '■', idle: '○' };

/** A state in words, with a shape and a colour. */
export const badge = ({ tone, title }) =>
  html`<span class="badge" data-tone=${tone}><span aria-hidden="true">${GLYPHS[tone]}</span>${title}</span>`;

/** The initial of a profile with the mark of its network. */
export const face = (profile) => {
  const { network } = KINDS[profile.kind];
  return html`<span class="face" data-network=${network} aria-hidden="true">${initial(profile.name)}<i>${NETWORKS[network].letter}</i></span>`;
};

const initial = (name) => (Array.from(name.trim())[0] ?? '?').toUpperCase();

export const mark = (network) =>
  html`<span class="mark" data-network=${network} aria-hidden="true">${NETWORKS[network].letter}</span>`;

export const time = (instant) => html`<time datetime=${instant} title=${at(instant)}>${fromNow(instant)}</time>`;

/** A refusal in the API's own words; `again` is what to do about it. That a session is over, the frame says. */
export const trouble = (refusal, again) => (refusal.code === 'session_over' ? nothing : html`
  <section class="note" data-tone="bad" role="alert">
    <h2>${refusal.title ?? 'Something went wrong'}</h2>
    <p>${refusal.detail ?? refusal.message}</p>
    ${refusal.retryAfter ? html`<p>It is worth another try in ${wait(refusal.retryAfter)}.</p>` : nothing}
    ${again ? html`<p><button type="button" @click=${again}>Try again</button></p>` : nothing}
    ${refusal.code ? html`<p class="soft">Code: <code>${refusal.code}</code></p>` : nothing}
  </section>`);

export const loading = (what) => html`<div class="skeleton" role="status" aria-label=${what}><i></i><i></i><i></i></div>`;

/** An address that a page may link to. */
export const isWeb = (address) => {
  try {
    return ['https:', 'http:'].includes(new URL(address).protocol);
  } catch {
    return false;
  }
};

/** Where the focus goes when what had it is gone. */
export const refocus = () => (document.querySelector('#panel h2') ?? document.querySelector('main h1'))?.focus({ preventScroll: true });

/** Takes away what was said, because another page is shown. */
export const hush = () => render(nothing, document.getElementById('said'));

/** Says what was done, where everybody hears it. */
export function say(text, tone = 'good') {
  const box = document.getElementById('said');
  render(html`<div class="toast" data-tone=${tone}><p>${text}</p>
    <button type="button" class="quiet" aria-label="Put aside" @click=${hush}>✕</button></div>`, box);
}

/**
 * Asks before something is done that cannot be undone. `act` does it; while it is refused the dialog stays, with the
 * refusal in it.
 */
export function ask({ title, body, verb, danger = true, act }) {
  const dialog = document.createElement('dialog');
  let refused, busy = false;
  const decide = async () => {
    busy = true;
    show();
    try {
      await act();
      dialog.close();
    } catch (refusal) {
      refused = refusal;
    }
    busy = false;
    show();
  };
  const show = () => render(html`
    <h2 id="asked">${title}</h2>
    ${body}
    ${refused ? trouble(refused) : nothing}
    <div class="row end">
      <button type="button" ?disabled=${busy} @click=${() => dialog.close()}>Cancel</button>
      <button type="button" class=${danger ? 'danger' : 'main'} ?disabled=${busy} @click=${decide}>${busy ? 'One moment…' : verb}</button>
    </div>`, dialog);
  dialog.setAttribute('aria-labelledby', 'asked');
  dialog.addEventListener('cancel', (event) => {
    if (busy) event.preventDefault(); // it is being done, and its outcome is told here
  });
  dialog.addEventListener('close', () => {
    dialog.remove();
    if (document.activeElement === document.body) refocus();
  });
  show();
  document.body.append(dialog);
  dialog.showModal();
}

/** Runs what a form does, once at a time; what is refused goes to `refused`. */
export async function submit(event, act, refused) {
  event.preventDefault();
  const form = event.target;
  if (form.ariaBusy === 'true') return;
  form.ariaBusy = 'true';
  refused(undefined);
  try {
    await act(new FormData(form));
    refused(undefined);
  } catch (refusal) {
    refused(refusal);
  } finally {
    form.ariaBusy = null;
  }
}
