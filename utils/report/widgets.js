// Elements, long lists and tables. Texts only ever become text nodes.
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === 'on') for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 'style') Object.assign(element.style, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter(child => child !== undefined && child !== null && child !== ''));
  return element;
}
function svg(tag, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function link(text, pick) {
  return h('button', {class: 'link', on: {click: event => { event.stopPropagation(); pick(); }}}, text);
}
function separated(elements, separator = ' ') {
  return elements.flatMap((element, i) => i ? [separator, element] : [element]);
}
// The text with the query's words marked.
function marked(text, query) {
  if (!query || query.empty) return [text];
  const low = text.toLowerCase(), parts = [];
  let at = 0;
  while (at < text.length) {
    let next = -1, length = 0;
    for (const word of query.words) {
      const found = low.indexOf(word, at);
      if (found >= 0 && (next < 0 || found < next)) [next, length] = [found, word.length];
    }
    if (next < 0) break;
    if (next > at) parts.push(text.slice(at, next));
    parts.push(h('mark', {}, text.slice(next, next + length)));
    at = next + length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

// A list of any length: only the rows in sight are in the document. Rows are {key?, …}; those with a
// key can be picked, by mouse or by arrow keys.
class List {
  constructor({height, render, pick, state, label}) {
    Object.assign(this, {height, render, pick, state: state || (() => ''), rows: []});
    this.space = h('div', {class: 'space'});
    this.element = h('div', {class: 'list', tabindex: 0, role: 'listbox', 'aria-label': label || ''}, this.space);
    this.element.addEventListener('scroll', () => this.draw());
    this.element.addEventListener('keydown', event => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }
  set(rows) {
    this.rows = rows;
    this.space.style.height = `${rows.length * this.height}px`;
    this.draw(true);
  }
  draw() {
    const top = this.element.scrollTop, seen = this.element.clientHeight || 600;
    const first = Math.max(0, Math.floor(top / this.height) - 8);
    const last = Math.min(this.rows.length, Math.ceil((top + seen) / this.height) + 8);
    const drawn = [];
    for (let i = first; i < last; ++i) {
      const row = this.rows[i], element = this.render(row, i);
      element.classList.add('row');
      element.style.top = `${i * this.height}px`;
      element.style.height = `${this.height}px`;
      if (row.key !== undefined) {
        element.classList.add('pickable');
        element.setAttribute('role', 'option');
        element.dataset.key = row.key;
        element.addEventListener('click', () => { this.at = i; this.pick(row); });
        const state = this.state(row);
        if (state) element.classList.add(...state.split(' '));
        element.setAttribute('aria-selected', state.includes('picked'));
      }
      drawn.push(element);
    }
    this.space.replaceChildren(...drawn);
  }
  key(event) {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step || event.target !== this.element) return;
    event.preventDefault();
    let i = this.at === undefined ? (step > 0 ? 0 : this.rows.length - 1) : this.at + step;
    while (this.rows[i] && this.rows[i].key === undefined) i += step;
    if (!this.rows[i]) return;
    this.at = i;
    this.pick(this.rows[i]);
    this.reveal(i, true);
  }
  reveal(i, gently) {
    const top = i * this.height, seen = this.element.clientHeight;
    const inSight = top >= this.element.scrollTop && top + this.height <= this.element.scrollTop + seen;
    if (inSight) return;
    if (gently) this.element.scrollTop = top < this.element.scrollTop ? top : top + this.height - seen;
    else this.element.scrollTop = Math.max(0, top - seen / 3);
    this.draw();
  }
  toTop(test) {
    const i = this.rows.findIndex(test);
    this.element.scrollTop = Math.max(0, i - 1) * this.height;
    this.draw();
  }
  revealWhere(test) {
    const i = this.rows.findIndex(test);
    if (i >= 0) this.reveal(i);
  }
}

// A sortable table on a List. Columns: {title, width, value(row), show?(row), right?}.
class Table {
  constructor({columns, pick, state, label}) {
    this.columns = columns;
    this.rows = [];
    const widths = columns.map(column => column.width).join(' ');
    this.head = h('div', {class: 'head', style: {gridTemplateColumns: widths}});
    this.list = new List({height: 26, label, pick, state, render: row => {
      const cells = columns.map(column => h('span', {class: `${column.right ? 'right' : ''} ${column.mono ? 'mono' : ''}`,
        title: String(column.value(row) ?? '')}, column.show ? column.show(row) : String(column.value(row) ?? '')));
      return h('div', {style: {gridTemplateColumns: widths}}, cells);
    }});
    this.element = h('div', {class: 'table', style: {display: 'contents'}}, this.head, this.list.element);
    this.list.element.classList.add('table');
    this.drawHead();
  }
  drawHead() {
    this.head.replaceChildren(...this.columns.map((column, i) => h('button', {
      class: column.right ? 'right' : '', title: column.meaning,
      'aria-sort': this.sorted === i ? (this.down ? 'descending' : 'ascending') : undefined,
      on: {click: () => { this.down = this.sorted === i ? !this.down : Boolean(column.right); this.sorted = i; this.order(); }},
    }, column.title + (this.sorted === i ? (this.down ? ' ↓' : ' ↑') : ''))));
  }
  set(rows) { this.rows = rows; this.order(); }
  order() {
    const column = this.columns[this.sorted], sign = this.down ? -1 : 1;
    const rows = [...this.rows];
    if (column) rows.sort((a, b) => {
      const [x, y] = [column.value(a) ?? -Infinity, column.value(b) ?? -Infinity];
      return sign * (x < y ? -1 : x > y ? 1 : 0);
    });
    this.list.set(rows);
    this.drawHead();
  }
}

function panel(title, note, ...children) {
  return h('section', {class: 'panel'}, h('h2', {}, title, h('span', {class: 'soft'}, note || '')), ...children);
}
