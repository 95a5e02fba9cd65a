// The strip that the sandbox's console has: its clock, its mailbox, its faults. It is loaded when the identity provider
// is on this machine, and shown when the sandbox's own door answers; a deployment has neither.

import { html, nothing } from './lit-html.js';
import * as time from './time.js';

const DOORS = '/_sandbox/';
const STRUCK = [
  ['x/token', 'lost_reply'], ['facebook/token', 'throttle'], ['facebook/me', 'status'], ['kms/Decrypt', 'throttle'], ['dynamodb/UpdateItem', 'status'],
];

let update;
let mails = 0, faults = [], told = '';

const knock = async (door, method = 'GET', body = undefined) => {
  const answer = await fetch(DOORS + door, { method, body: body && JSON.stringify(body), credentials: 'omit' });
  if (!answer.ok) throw new Error(`${door}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
};

async function look() {
  const [clock, mail, struck] = await Promise.all(['clock', 'mail', 'faults'].map((door) => knock(door)));
  time.setOffset(Date.parse(clock.now) - Date.now());
  mails = mail.items.length;
  faults = struck.items;
  update();
}

/** Looks once before the first page is right about the time; throws where there is no sandbox. */
export async function start(frame) {
  update = frame;
  await look();
  told = history.state?.told ?? '';
  history.replaceState({ ...history.state, told: undefined }, '');
  return { template };
}

/** Lets time pass. No access token outlives it, so the page comes anew, and with it what is to be told. */
async function later(days) {
  told = 'Time passes…';
  update();
  await knock('clock', 'POST', { advance_seconds: days * 86_400 });
  const swept = await knock('tick', 'POST', { function: 'expiry-sweep' });
  const passed = `${days === 1 ? 'A day' : `${days} days`} later. The sweep warned ${swept.warned ?? 0} and mailed ${swept.mailed ?? 0}.`;
  history.replaceState({ ...history.state, told: passed }, '');
  location.reload();
}

const put = (event) => {
  event.preventDefault();
  const [target, mode] = new FormData(event.target).get('fault').split(' ');
  knock('faults', 'PUT', { target, mode }).then(look);
};

const template = () => html`
  <aside class="strip" aria-label="Sandbox">
    <b>Sandbox</b>
    <span>It is ${time.at(time.now())} here.</span>
    <button type="button" @click=${() => later(1)}>1 day later</button>
    <button type="button" @click=${() => later(31)}>31 days later</button>
    <a href="/mail" target="_blank" rel="noopener">Mailbox (${mails})</a>
    <details><summary>Faults (${faults.length})</summary>
      ${faults.map(({ target, mode, times }) => html`<p><code>${target}</code> ${mode}, ${times} more</p>`)}
      <form @submit=${put}><label><span class="unseen">Fault</span><select name="fault">${STRUCK.map(([target, mode]) =>
        html`<option value="${target} ${mode}">${target}: ${mode}</option>`)}</select></label><button>Let it strike once</button></form>
      ${faults.length ? html`<button type="button" @click=${() => knock('faults', 'DELETE').then(look)}>Clear</button>` : nothing}
    </details>
    <span role="status">${told}</span>
  </aside>`;
