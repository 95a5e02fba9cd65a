// The HTTP API, as any client uses it. What it refuses comes as a `Refusal` with the API's own words.

import * as session from './session.js';

const PATIENCE = 30_000; // milliseconds

/** Why something was not done: a problem document (RFC 9457), or what stands in for one. */
export class Refusal extends Error {
  constructor({ status = 0, code, title, detail, retryAfter }) {
    super(title);
    Object.assign(this, { status, code, title, detail, retryAfter });
  }
}

async function call(method, path, { query, body } = {}) {
  const url = new URL(`/v1/${path}`, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) if (value != null) url.searchParams.set(name, value);
  const token = session.token();
  const headers = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers['content-type'] = 'application/json';
  let answer, read;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    answer = await fetch(url, { method, headers, body: body && JSON.stringify(body), signal, credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer' });
    read = await answer.text();
  } catch {
    throw new Refusal({
      code: 'unreachable',
      title: 'No answer',
      detail: 'Tokenward cannot be reached. Look after your connection and try again; what you typed is still here.',
    });
  }
  const isJson = (type) => answer.headers.get('content-type')?.startsWith(type);
  if (answer.ok && (!read || isJson('application/json'))) return read ? JSON.parse(read) : null;
  throw refusal(answer, isJson('application/problem+json') ? JSON.parse(read) : undefined, token);
}

function refusal(answer, problem, token) {
  const { status } = answer;
  const retryAfter = Number(answer.headers.get('retry-after')) || undefined;
  // the gateway answers for tokens that are over, without a problem document
  if (status === 401 || (status === 403 && !problem)) {
    session.end(token);
    return new Refusal({ status, code: 'session_over', title: 'Your session has ended', detail: 'Sign in again; what you typed is still here.' });
  }
  if (problem) return new Refusal({ ...problem, retryAfter });
  return new Refusal({ status, code: 'unavailable', title: 'Not available now', detail: 'Tokenward does not answer as it should. Try again in a minute.', retryAfter });
}

/** A path of the API from its segments. */
export const path = (...segments) => segments.map(encodeURIComponent).join('/');

export const get = (path, query) => call('GET', path, { query });
export const post = (path, body = {}) => call('POST', path, { body });
export const put = (path, body) => call('PUT', path, { body });
export const patch = (path, body) => call('PATCH', path, { body });
export const remove = (path) => call('DELETE', path);

/** The pages of a list, as they come. */
export async function* pages(path, query = {}) {
  let next;
  do {
    const page = await get(path, { ...query, next });
    yield page;
    ({ next } = page);
  } while (next != null);
}
