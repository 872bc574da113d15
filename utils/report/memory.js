// The memory plan as a timeline: launches from left to right, bytes from top to bottom.
class MemoryView {
  constructor(app) {
    this.app = app;
    this.chart = h('div', {class: 'chart'});
    this.shown = {leaves: true, outputs: true, arena: true};
    this.tools = h('span', {class: 'tools'});
    this.note = h('span', {class: 'soft'});
    const buffer = name => row => row[name];
    this.table = new Table({label: 'Buffers', pick: row => app.pick('node', row.node, 'buffer'),
      state: row => app.picked && app.picked.kind === 'node' && app.picked.id === row.node ? 'picked' : '',
      columns: [
        {title: 'buffer', width: '70px', value: buffer('id'), right: true},
        {title: 'holds', width: '2fr', value: row => this.title(row)},
        {title: 'bytes', width: '110px', value: buffer('bytes'), show: row => bytesText(row.bytes), right: true},
        {title: 'role', width: '110px', value: buffer('role')},
        {title: 'home', width: '1.2fr', value: row => app.model.home(row)},
        {title: 'launches', width: '110px', value: buffer('first'), show: row => row.first === undefined ? '' : `${row.first}–${row.last}`, right: true},
        {title: 'line', width: '1fr', value: row => app.model.place(app.model.nodes[row.node])}]});
    const roles = [['leaf', 'leaf'], ['taken', 'in a leaf’s memory'], ['output', 'output'], ['intermediate', 'intermediate'], ['partial', 'partial sums'], ['scratch', 'scratch of a launch']];
    const legend = h('span', {class: 'soft'}, roles.flatMap(([role, name]) => [h('i', {class: `key role-${role}`}), name]));
    this.missed = h('div', {class: 'details', hidden: true});
    this.element = h('div', {id: 'memory'},
      h('section', {class: 'panel'}, h('h2', {}, 'Memory plan', this.note, legend, this.tools), this.chart),
      h('section', {class: 'panel'}, this.table.element, this.missed));
    new ResizeObserver(() => this.draw()).observe(this.chart);
  }

  title(buffer) {
    const node = this.app.model.nodes[buffer.node];
    return `%${node.id} ${node.op} ${this.app.model.type(node)}${buffer.role === 'partial' ? ' (partial sums)' : buffer.role === 'scratch' ? ' (scratch)' : ''}`;
  }

  show() {
    const {model, query} = this.app, {memory, buffers} = model.doc;
    const text = buffer => `${this.title(buffer)} ${buffer.role} ${model.home(buffer)} ${model.nodeText(model.nodes[buffer.node])}`;
    this.kept = new Set(buffers.filter(buffer => query.empty || query.matches(text(buffer))).map(buffer => buffer.id));
    this.found = `${this.kept.size} of ${buffers.length} buffers`;
    this.table.set(buffers.filter(buffer => this.kept.has(buffer.id)));
    this.note.textContent = `${bytesText(memory.total_bytes)} in all, arena ${bytesText(memory.arena_bytes)}`;
    this.missed.hidden = memory.missed.length === 0;
    this.missed.replaceChildren(h('dl', {}, memory.missed.flatMap(text => [h('dt', {}, 'missed alias'), h('dd', {}, text)])));
    this.tools.replaceChildren(...Object.keys(this.shown).map(band => h('button', {'aria-pressed': String(this.shown[band]),
      on: {click: () => { this.shown[band] = !this.shown[band]; this.show(); }}}, band)));
    this.draw();
  }

  // Bands of memory, one under the other; a band is made of blocks {bytes, buffers}.
  bands() {
    const {buffers, memory} = this.app.model.doc;
    const leaves = new Map(), outputs = new Map(), arena = {name: 'arena', bytes: memory.arena_bytes, buffers: []};
    const into = (map, key, name, buffer) => {
      if (!map.has(key)) map.set(key, {name, bytes: 0, buffers: []});
      const block = map.get(key);
      block.bytes = Math.max(block.bytes, buffer.offset + buffer.bytes);
      block.buffers.push(buffer);
    };
    for (const buffer of buffers) {
      if (buffer.home === 'leaf') into(leaves, buffer.leaf, `leaf ${buffer.leaf}`, buffer);
      else if (buffer.home === 'output') into(outputs, buffer.inside, `output buffer ${buffer.inside}`, buffer);
      else arena.buffers.push(buffer);
    }
    const bySize = (a, b) => b.bytes - a.bytes;
    return [['leaves', [...leaves.values()].sort(bySize)], ['outputs', [...outputs.values()].sort(bySize)],
      ['arena', arena.bytes ? [arena] : []]]
      .filter(([name, blocks]) => this.shown[name] && blocks.length).map(([name, blocks]) => ({name, blocks}));
  }

  draw() {
    const {model} = this.app;
    if (!model || !model.doc || !this.chart.clientWidth || !this.kept) return;
    const count = model.kernels.length, bands = this.bands();
    const left = 76, right = 14, top = 46, gap = 14, bottom = 24;
    const width = Math.max(this.chart.clientWidth, left + right + count * 3);
    const height = Math.max(180, this.chart.clientHeight);
    const total = bands.reduce((sum, band) => sum + band.blocks.reduce((all, block) => all + block.bytes, 0), 0) || 1;
    const scale = (height - top - bottom - gap * bands.length) / total;
    const x = launch => left + (width - left - right) * launch / Math.max(1, count);
    const root = svg('svg', {width, height, role: 'img', 'aria-label': 'Memory over launches'});
    this.drawLaunches(root, count, x, top - 4, height - bottom);
    this.drawAlive(root, x, top - 8);
    let y = top;
    for (const band of bands) {
      y += gap;
      const bytes = band.blocks.reduce((sum, block) => sum + block.bytes, 0);
      root.append(svg('text', {x: 8, y: y + 10}, band.name), svg('text', {x: 8, y: y + 23}, bytesText(bytes)));
      for (const block of band.blocks) {
        root.append(svg('rect', {class: 'host', x: left, y, width: width - left - right, height: Math.max(.5, block.bytes * scale)}));
        for (const buffer of block.buffers) this.drawBuffer(root, buffer, x, y + buffer.offset * scale, buffer.bytes * scale);
        y += block.bytes * scale;
      }
    }
    this.chart.replaceChildren(root);
  }

  drawLaunches(root, count, x, top, bottom) {
    const every = Math.max(1, Math.ceil(count / 24));
    for (let launch = 0; launch <= count; launch += every) {
      root.append(svg('line', {class: 'grid', x1: x(launch), x2: x(launch), y1: top, y2: bottom}));
      if (launch < count) root.append(svg('text', {x: x(launch) + 3, y: bottom + 14}, String(launch)));
    }
    root.append(svg('text', {x: 8, y: bottom + 14}, 'launch'));
  }

  // Bytes of intermediates needed at each launch, above the bands.
  drawAlive(root, x, base) {
    const {model} = this.app, count = model.kernels.length, change = new Array(count + 1).fill(0);
    for (const buffer of model.doc.buffers) {
      if (buffer.first === undefined || !['intermediate', 'partial', 'scratch'].includes(buffer.role)) continue;
      change[buffer.first] += buffer.bytes;
      change[buffer.last + 1] -= buffer.bytes;
    }
    let now = 0;
    const alive = change.slice(0, count).map(by => now += by), peak = Math.max(...alive, 0);
    if (!peak) return;
    const y = bytes => base - 30 * bytes / peak;
    const steps = alive.map((bytes, i) => `L${x(i)} ${y(bytes)} L${x(i + 1)} ${y(bytes)}`).join(' ');
    const path = svg('path', {class: 'alive', d: `M${x(0)} ${base} ${steps} L${x(count)} ${base}`});
    root.append(path, svg('text', {x: 8, y: base - 18}, 'alive'), svg('text', {x: 8, y: base - 5}, `≤ ${bytesText(peak)}`));
  }

  drawBuffer(root, buffer, x, y, height) {
    if (buffer.first === undefined) return;
    const {picked} = this.app, role = buffer.home === 'leaf' && buffer.role !== 'leaf' ? 'taken' : buffer.role;
    const from = x(buffer.first), width = x(buffer.last + 1) - from;
    const states = [picked && picked.kind === 'node' && picked.id === buffer.node ? 'picked' : '', this.kept.has(buffer.id) ? '' : 'dim'];
    const bar = svg('rect', {class: `buffer role-${role} ${states.join(' ')}`, x: from, y, width, height: Math.max(1, height), 'data-buffer': buffer.id});
    bar.addEventListener('click', () => this.app.pick('node', buffer.node, 'buffer'));
    bar.addEventListener('mousemove', event => this.app.tip(event, this.tipText(buffer)));
    bar.addEventListener('mouseleave', () => this.app.tip(null));
    root.append(bar);
    const name = this.app.model.nodes[buffer.node].op, label = `${name} ${bytesText(buffer.bytes)}`;
    const fits = height >= 13 && width > 30 && (width > label.length * 6.2 ? label : width > name.length * 6.4 + 6 ? name : '');
    if (fits) root.append(svg('text', {class: 'inside', x: from + 4, y: y + Math.min(height / 2 + 4, 14)}, fits));
  }

  tipText(buffer) {
    const {model} = this.app, node = model.nodes[buffer.node];
    return `${this.title(buffer)}\n${bytesText(buffer.bytes)} (${buffer.bytes} bytes), ${buffer.role}\n` +
      `${model.home(buffer)}\nlaunches ${buffer.first} to ${buffer.last}\n${model.place(node)} ${node.scope || ''}`;
  }
}
