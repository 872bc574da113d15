// User lines, nodes, kernels and generated code side by side. Picking in one pane shows what hangs
// together with it in the others.
class PipelineView {
  constructor(app) {
    this.app = app;
    const state = kind => row => this.stateOf(kind, row.id);
    const pick = kind => row => app.pick(kind, row.id, kind);
    this.source = new List({height: 20, label: 'Source lines', pick: pick('line'), state: state('line'),
      render: row => this.sourceRow(row)});
    this.nodes = new List({height: 22, label: 'Nodes', pick: pick('node'), state: state('node'),
      render: row => this.nodeRow(row.id)});
    this.kernels = new List({height: 40, label: 'Kernels', pick: pick('kernel'), state: state('kernel'),
      render: row => this.kernelRow(row.id)});
    this.code = new List({height: 17, label: 'Generated code', render: (row, i) => this.codeRow(row, i)});
    this.trail = h('div', {class: 'trail'});
    this.notes = {};
    const make = (name, title, list, ...more) => {
      this.notes[name] = h('span', {class: 'soft'});
      return h('section', {class: `panel ${name}`, id: `pane-${name}`},
        h('h2', {}, title, this.notes[name], more[0]), list.element, more[1]);
    };
    this.tabs = h('span', {class: 'tools'});
    this.details = h('div', {class: 'details', hidden: true});
    this.element = h('div', {style: {display: 'contents'}}, this.trail, h('div', {id: 'pipeline'},
      make('source', 'Source', this.source),
      make('nodes', 'Nodes', this.nodes, null, this.details),
      make('kernels', 'Kernels', this.kernels),
      make('code', 'Code', this.code, this.tabs)));
  }

  stateOf(kind, id) {
    const {picked, sets} = this.app;
    if (picked && picked.kind === kind && picked.id === id) return 'picked';
    return sets && sets[kind].has(id) ? 'linked' : '';
  }

  // Everything anew: another trace, another query, another pick.
  show() {
    const {model, query, picked, sets, only} = this.app;
    const kept = (kind, id, text) => (!only || !sets || sets[kind].has(id)) && (query.empty || query.matches(text()));
    const lines = model.lines.map((_, i) => i).filter(i => kept('line', i, () => this.lineText(i)));
    const nodes = model.nodes.map(node => node.id).filter(id => kept('node', id, () => model.nodeText(model.nodes[id])));
    const kernels = model.kernels.map((_, k) => k).filter(k => kept('kernel', k, () => this.kernelText(k)));
    this.source.set(this.sourceRows(lines));
    this.nodes.set(nodes.map(id => ({key: `node-${id}`, id})));
    this.kernels.set(kernels.map(id => ({key: `kernel-${id}`, id})));
    const count = (name, shown, all) => {
      this.notes[name].textContent = shown === all ? `${all}` : `${shown} of ${all}`;
    };
    count('source', lines.length, model.lines.length);
    count('nodes', nodes.length, model.nodes.length);
    count('kernels', kernels.length, model.kernels.length);
    this.found = `${lines.length} lines, ${nodes.length} nodes, ${kernels.length} kernels`;
    this.showTrail();
    this.showDetails();
    const first = sets ? [...sets.kernel].sort((a, b) => a - b)[0] : undefined;
    this.showCode(first ?? (query.empty ? this.kernel ?? 0 : kernels[0] ?? 0));
    for (const [kind, list] of [['line', this.source], ['node', this.nodes], ['kernel', this.kernels]])
      if (picked && this.app.origin !== kind)
        list.revealWhere(row => row.key !== undefined && sets[kind].has(row.id));
  }

  lineText(i) {
    const {model} = this.app, line = model.lines[i];
    return `${model.fileName(line.file)}:${line.line} ${model.sourceText(line.file, line.line) || ''}`;
  }
  kernelText(k) {
    const {model} = this.app;
    return [model.kernels[k].name, ...Object.keys(model.kernels[k].files).map(kind => model.listing(k, kind))].join('\n');
  }

  // Lines with two of context, gaps in between, a heading for each file.
  sourceRows(lines) {
    const {model} = this.app, rows = [], wanted = new Map(lines.map(i => [`${model.lines[i].file}:${model.lines[i].line}`, i]));
    let file = -1, last = 0;
    const isLine = (file, number) => wanted.has(`${file}:${number}`);
    for (const i of lines) {
      const line = model.lines[i];
      if (line.file !== file) {
        rows.push({file: model.fileName(line.file)});
        [file, last] = [line.file, 0];
      }
      const from = Math.max(last + 1, line.line - 2);
      if (last && from > last + 1) rows.push({gap: true});
      for (let number = from; number < line.line; ++number) {
        const text = model.sourceText(file, number);
        if (text !== undefined) rows.push({number, text});
      }
      rows.push({key: `line-${i}`, id: i, number: line.line, text: model.sourceText(file, line.line)});
      last = line.line;
      for (let number = line.line + 1; number <= line.line + 2 && !isLine(file, number); ++number) {
        const text = model.sourceText(file, number);
        if (text === undefined) break;
        rows.push({number, text});
        last = number;
      }
    }
    return rows;
  }
  sourceRow(row) {
    const {query, model} = this.app;
    if (row.file !== undefined) return h('div', {class: 'file', title: row.file}, marked(shortFile(row.file), query));
    if (row.gap) return h('div', {class: 'context'}, h('span', {class: 'number'}, '⋯'));
    if (row.key === undefined)
      return h('div', {class: 'context'}, h('span', {class: 'number'}, String(row.number)), h('span', {class: 'badge'}), row.text);
    const line = model.lines[row.id];
    return h('div', {title: `${line.nodes.length} nodes, ${line.kernels.size} kernels`},
      h('span', {class: 'number'}, String(row.number)), h('span', {class: 'badge'}, `${line.nodes.length}`),
      row.text === undefined ? h('span', {class: 'soft'}, '(the source was not found)') : h('span', {}, marked(row.text, query)));
  }

  nodeRow(id) {
    const {model, query} = this.app, node = model.nodes[id], kernels = model.kernelsOf[id];
    const value = node.value !== undefined ? ` ${node.value}` : '';
    return h('div', {title: model.nodeText(node)},
      h('span', {class: 'number id mono'}, `%${id}`), h('span', {class: 'op'}, marked(node.op, query), value),
      h('span', {class: 'mono soft'}, marked(model.type(node), query)),
      h('span', {class: 'grow soft'}, marked(innerScope(node), query)),
      h('span', {class: 'badge'}, kernels.length === 0 ? '' : kernels.length === 1 ? `k${kernels[0]}` : `k${kernels[0]}+${kernels.length - 1}`));
  }

  kernelRow(k) {
    const {model, query} = this.app, kernel = model.kernels[k], rates = model.rates(k);
    const figures = [`${model.kernelNodes[k].size} nodes`, bytesText(kernel.bytes)];
    if (kernel.flops) figures.push(`${countText(kernel.flops)}FLOP`);
    if (kernel.segments.length > 1) figures.push(`${kernel.segments.length} segments`);
    if (rates) figures.push(timeText(rates.ms));
    return h('div', {title: kernel.name}, h('span', {class: 'name'}, marked(kernel.name, query)),
      h('span', {class: 'figures'}, figures.join(' · ')));
  }

  showTrail() {
    const app = this.app, {picked, sets, model, only} = app;
    if (!picked) {
      this.trail.replaceChildren('Pick a line, a node or a kernel: what hangs together with it lights up in the other panes.');
      return;
    }
    const name = picked.kind === 'line' ? model.place(model.lines[picked.id])
      : picked.kind === 'node' ? `%${picked.id} ${model.nodes[picked.id].op}` : model.kernels[picked.id].name;
    const others = [['line', 'lines'], ['node', 'nodes'], ['kernel', 'kernels']].filter(([kind]) => kind !== picked.kind)
      .map(([kind, plural]) => `${sets[kind].size} ${sets[kind].size === 1 ? kind : plural}`).join(', ');
    this.trail.replaceChildren(h('span', {}, h('b', {}, name), ` → ${others}`),
      link(only ? 'show all' : 'show only these', () => app.setOnly(!only)), link('clear', () => app.pick(null)));
  }

  showDetails() {
    const app = this.app, {picked, model} = app;
    this.details.hidden = !picked || picked.kind !== 'node';
    if (this.details.hidden) return;
    const node = model.nodes[picked.id];
    const nodes = ids => separated(ids.slice(0, 40).map(id => link(`%${id}`, () => app.pick('node', id))));
    const facts = [
      ['inputs', nodes([...new Set(node.inputs)])], ['users', nodes(model.usersOf[node.id])],
      ['attributes', (node.attributes || []).join(', ')],
      ['line', model.lineOf[node.id] >= 0 ? [link(model.place(node), () => app.pick('line', model.lineOf[node.id]))] : ''],
      ['kernels', separated(model.kernelsOf[node.id].slice(0, 12).map(k => link(model.kernels[k].name, () => app.pick('kernel', k))))],
      ['memory', model.buffersOf[node.id].map(b => model.doc.buffers[b]).map(b => `${bytesText(b.bytes)}, ${model.home(b)}`).join('; ')],
      ['recorded as', model.capturedOf[node.id].slice(0, 12).map(id => `%${id}`).join(' ')],
      ['not fused', (model.refusalsOf.get(node.id) || []).flatMap(one => [h('div', {}, 'with ', link(`%${one.other}`, () => app.pick('node', one.other)), `: ${one.why}`)])]];
    this.details.replaceChildren(h('dl', {}, facts.filter(([, value]) => value.length)
      .flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])));
  }

  showCode(k) {
    const {model, query, sets} = this.app;
    const kernel = model.kernels[k], kinds = kernel ? Object.keys(kernel.files) : [];
    if (!kinds.includes(this.kind)) this.kind = undefined;
    // Code is what one looks for at the end of the way: the last listing is nearest to the machine.
    const kind = this.kind || kinds.find(one => one === 'assembly' || one === 'sass') || kinds.at(-1);
    this.kernel = k;
    const text = kind ? model.listing(k, kind) : '';
    const lines = text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    const others = sets ? [...sets.kernel].sort((a, b) => a - b) : [];
    const at = others.indexOf(k);
    this.notes.code.replaceChildren(h('span', {title: kernel ? kernel.name : ''}, kernel ? `kernel ${k}` : ''),
      ...(others.length > 1 ? [' ', link(`${at + 1}/${others.length} next`, () => this.showCode(others[(at + 1) % others.length]))] : []));
    this.tabs.replaceChildren(...kinds.map(one => h('button', {'aria-pressed': String(one === kind), data: {listing: one},
      on: {click: () => { this.kind = one; this.showCode(k); }}}, one)));
    this.code.set(lines.map(text => ({text, hit: !query.empty && query.matches(text)})));
    this.code.element.dataset.kernel = k;
    this.code.element.dataset.listing = kind || '';
    const isOther = this.shown !== `${k} ${kind} ${query.words.join(' ')}`;
    this.shown = `${k} ${kind} ${query.words.join(' ')}`;
    if (isOther) {
      const entry = /^(encore_\w+:|define |extern "C"|\.visible)/;  // constants stand before it
      this.code.toTop(row => query.empty ? entry.test(row.text) : row.hit);
    }
  }
  // Enter in the search field: the next line of code with a match.
  nextHit() {
    const rows = this.code.rows, from = (this.hit ?? -1) + 1;
    for (let step = 0; step < rows.length; ++step) {
      const i = (from + step) % rows.length;
      if (rows[i].hit) { this.hit = i; this.code.reveal(i); return; }
    }
  }
  codeRow(row, i) {
    const comment = /^\s*[;#]|\s+(;|\/\/|#)\s/.exec(row.text);
    const at = comment ? comment.index : row.text.length;
    const parts = row.hit ? marked(row.text, this.app.query)
      : [...row.text.slice(0, at).split(/(%[\w.$-]+)/).map(part => part.startsWith('%') ? h('span', {class: 'value'}, part) : part),
        at < row.text.length ? h('span', {class: 'comment'}, row.text.slice(at)) : ''];
    return h('div', {}, h('span', {class: 'number'}, String(i + 1)), h('span', {}, parts.filter(part => part !== '')));
  }
}

// Of "Transformer/block/attention/softmax" what tells nodes apart that stand together.
function innerScope(node) {
  const parts = (node.scope || '').split('/');
  return parts.length > 2 ? `…/${parts.slice(-2).join('/')}` : parts.join('/');
}
