// A list of thousands: only the rows near the window are in the document, each at its own place and with its own
// element as long as it stays, so that scrolling, the keyboard's focus and a screen reader's place are undisturbed.

import { render } from './lit-html.js';

const AROUND = 8; // rows beyond both edges of the window

export class Rows {
  #items = [];
  #elements = new Map(); // key → element
  #asked = false;

  /** `row` makes the content of a row from an item and `key` names the item. */
  constructor(row, key) {
    this.row = row;
    this.key = key;
    const later = () => this.#later();
    addEventListener('scroll', later, { passive: true });
    addEventListener('resize', later, { passive: true });
  }

  /** Shows `items` in `list`, an empty `<ul>`. */
  show(list, items) {
    if (list !== this.list) {
      this.list = list;
      this.#elements.clear();
    }
    this.#items = items;
    this.#place();
  }

  #later() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      if (this.list?.isConnected) this.#place();
    });
  }

  #place() {
    const { list } = this;
    const height = Number.parseFloat(getComputedStyle(list).getPropertyValue('--row'));
    list.style.height = `${this.#items.length * height}px`;
    const top = -list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / height) - AROUND);
    const last = Math.min(this.#items.length, Math.ceil((top + innerHeight) / height) + AROUND);
    const shown = this.#items.slice(first, last);
    const wanted = new Set(shown.map(this.key));
    for (const [key, element] of this.#elements) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#elements.delete(key);
    }
    let before = null;
    shown.forEach((item, at) => {
      const key = this.key(item);
      const element = this.#elements.get(key) ?? document.createElement('li');
      this.#elements.set(key, element);
      element.style.transform = `translateY(${(first + at) * height}px)`;
      element.setAttribute('aria-posinset', first + at + 1);
      element.setAttribute('aria-setsize', this.#items.length);
      render(this.row(item), element);
      // in the order of the list, moving nothing that is in its place
      const next = before ? before.nextSibling : list.firstChild;
      if (element !== next) list.insertBefore(element, next);
      before = element;
    });
  }
}
