// What time it is, and how people say so.
//
// The sandbox's clock can be moved, so the time comes from here: everybody reads `now()`, and only the strip that the
// sandbox shows sets the offset.

const DAY = 86_400_000;
let offset = 0;

export const setOffset = (milliseconds) => { offset = milliseconds; };
export const now = () => Date.now() + offset;

const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric' });
const moment = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit' });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const relative = new Intl.RelativeTimeFormat('en-GB', { numeric: 'auto' });

export const onDate = (instant) => date.format(new Date(instant));
export const at = (instant) => moment.format(new Date(instant));
export const atClock = (instant) => clock.format(new Date(instant));

/** Days until an instant, a begun day counted as one; negative when it is over. */
export const daysUntil = (instant) => Math.ceil((Date.parse(instant) - now()) / DAY);

/** "in 12 days", "3 hours ago"; days ahead are counted as `daysUntil` does. */
export function fromNow(instant) {
  const away = Date.parse(instant) - now();
  if (away >= DAY) return relative.format(daysUntil(instant), 'day');
  for (const [unit, length] of [['day', DAY], ['hour', DAY / 24], ['minute', 60_000]]) {
    if (Math.abs(away) >= length || unit === 'minute') return relative.format(Math.trunc(away / length), unit);
  }
}

/** So many seconds, as people say how long to wait. */
export function wait(seconds) {
  if (seconds <= 90) return seconds === 1 ? 'a second' : `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
