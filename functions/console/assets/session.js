// Who is signed in: authorization code with PKCE at the identity provider, by oauth4webapi.
//
// The access token is in this module's memory and nowhere else, so a reload signs in again, silently while the provider
// has a session of its own. What a redirect needs to be taken back (state, nonce, verifier, where the person was) is in
// sessionStorage as long as the redirect lasts; what a redirect brings is taken out of the address at once. When a session
// is over, a second window signs in for this one, so that nothing that was typed here is lost.
//
// A provider that knows no silent sign-in shows its own page instead: whoever opened the console wants to sign in, and lands
// where they wanted to be.

import * as oauth from './oauth4webapi.js';
import { personOf } from './policy.js';

const KEPT = 'tokenward.sign-in';
const HOME = '/console';
const redirectUri = location.origin + HOME;

/** The identity provider, its endpoints and our client; known after `enter`. */
let provider;
let current; // { token, idToken, person }
let over = false;
const listeners = new Set();

export const person = () => current?.person;
export const token = () => current?.token;
export const isOver = () => over;
export const isSandbox = () => provider?.insecure === true;

/** Tells when somebody signed in again or the session ended. */
export const onChange = (listener) => listeners.add(listener);
const tell = () => listeners.forEach((listener) => listener());

/** The API does not take this access token any more; when it is one of before, somebody signed in again meanwhile. */
export function end(used) {
  if (used !== current?.token) return;
  over = true;
  tell();
}

/** Why nobody is signed in, for people. */
export class SignInError extends Error {}

async function discover() {
  const answer = await fetch('/console/configuration.json', { credentials: 'omit' });
  if (!answer.ok) throw new SignInError('The console is not set up: its configuration cannot be read.');
  const configuration = await answer.json();
  const issuer = new URL(configuration.issuer);
  const insecure = issuer.protocol === 'http:'; // this function serves no such issuer but on loopback
  const options = { algorithm: 'oidc', [oauth.allowInsecureRequests]: insecure };
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
  return { configuration, insecure, server, client: { client_id: configuration.client_id } };
}

/** The address of an authorization request, and what is needed to take its answer. */
async function request(prompt) {
  const { server, configuration } = provider;
  const made = { state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce(), verifier: oauth.generateRandomCodeVerifier() };
  const url = new URL(server.authorization_endpoint);
  const parameters = {
    client_id: configuration.client_id,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: configuration.scope,
    state: made.state,
    nonce: made.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(made.verifier),
    code_challenge_method: 'S256',
    ...(prompt && { prompt }),
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return { url, made };
}

async function redeem(parameters, { state, nonce, verifier }) {
  const { server, client, configuration, insecure } = provider;
  const checked = answered(() => oauth.validateAuthResponse(server, client, parameters, state));
  const answer = await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), checked, redirectUri, verifier,
    { [oauth.allowInsecureRequests]: insecure });
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, { expectedNonce: nonce, requireIdToken: true });
  current = { token: tokens.access_token, idToken: tokens.id_token, person: personOf(claimsOf(tokens.access_token), configuration) };
  over = false;
}

// with these a provider says that it has to ask the person (OpenID Connect Core §3.1.2.6)
const ASKS = ['login_required', 'interaction_required', 'consent_required', 'account_selection_required'];
class Asks extends Error {}

function answered(validate) {
  try {
    return validate();
  } catch (error) {
    if (!(error instanceof oauth.AuthorizationResponseError)) throw error;
    if (ASKS.includes(error.error)) throw new Asks();
    throw new SignInError(`The identity provider refused the sign-in: ${error.error_description ?? error.error}`);
  }
}

/** The claims of an access token; whether they are true, the API alone decides. */
function claimsOf(token) {
  try {
    const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (c) => c.charCodeAt(0))));
  } catch {
    throw new SignInError('The identity provider gives access tokens that this API does not read. Tell your operator.');
  }
}

/**
 * Takes out of the address what stands there, at once: where the person wants to be (`place`: fragment, query, what the
 * history entry knows), and what the identity provider answered to a request that was made by this window or another.
 */
export function takeUp() {
  const parameters = new URLSearchParams(location.search);
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');
  sessionStorage.removeItem(KEPT);
  const isAnswer = parameters.has('state') && (parameters.has('code') || parameters.has('error'));
  const arrival = { place: { hash: location.hash, query: location.search, back: history.state } };
  if (isAnswer) {
    const isOurs = kept?.made.state === parameters.get('state');
    Object.assign(arrival, isOurs ? { place: kept.place, answer: parameters, made: kept.made } : { stray: parameters });
  }
  history.replaceState(null, '', HOME);
  return arrival;
}

/** Signs in with what arrived: true when somebody is signed in, false when a person has to do it. May leave the page. */
export async function enter({ place, answer, made }) {
  provider ??= await discover();
  if (!answer) await leave(place, 'none');
  try {
    await redeem(answer, made);
    return true;
  } catch (error) {
    if (error instanceof Asks) return false;
    throw error;
  }
}

/** Leaves for the identity provider; what is at `place` is shown afterwards. */
export async function leave(place, prompt) {
  const { url, made } = await request(prompt);
  sessionStorage.setItem(KEPT, JSON.stringify({ made, place }));
  location.replace(url);
  await new Promise(() => {}); // the page is about to go
}

/** Signs in again in a window of its own; settles when that is done. */
export async function signInAgain() {
  const opened = window.open('about:blank', 'tokenward-sign-in', 'popup,width=520,height=640');
  if (!opened) throw new SignInError('The browser did not open a window to sign in. Allow it for this page and try again.');
  const { url, made } = await request();
  const channel = new BroadcastChannel(`tokenward.sign-in.${made.state}`);
  const answer = new Promise((resolve) => { channel.onmessage = ({ data }) => resolve(data); });
  opened.location.replace(url);
  const query = await answer;
  channel.postMessage('taken');
  channel.close();
  const before = current.person.subject;
  await redeem(new URLSearchParams(query), made);
  if (current.person.subject !== before) {
    location.reload(); // somebody else sees nothing of this person's
    await new Promise(() => {});
  }
  tell();
}

/** Gives an answer that this window did not ask for to the window that did; false when that is gone. */
export async function handOver(parameters) {
  const channel = new BroadcastChannel(`tokenward.sign-in.${parameters.get('state')}`);
  const taken = new Promise((resolve) => {
    channel.onmessage = () => resolve(true);
    setTimeout(resolve, 2_000, false);
  });
  channel.postMessage(parameters.toString());
  const done = await taken;
  channel.close();
  if (done) window.close();
  return done;
}

// the browser may keep what somebody saw before they signed out, and show it to whoever goes back
addEventListener('pageshow', ({ persisted }) => {
  if (persisted && !current) location.reload();
});

/** Ends the session here and at the identity provider. */
export function signOut() {
  const { server } = provider;
  const idToken = current?.idToken;
  current = undefined;
  if (!server.end_session_endpoint) return location.replace(HOME);
  const url = new URL(server.end_session_endpoint);
  url.searchParams.set('client_id', provider.client.client_id);
  url.searchParams.set('post_logout_redirect_uri', redirectUri);
  if (idToken) url.searchParams.set('id_token_hint', idToken);
  location.replace(url);
}
