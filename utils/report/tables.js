// The views that are tables: the graph after each pass, kernels, refused fusions, all traces.
class GraphView {
  constructor(app) {
    this.app = app;
    this.pass = 'simplified';
    this.tools = h('span', {class: 'tools'});
    this.note = h('span', {class: 'soft'});
    this.list = new List({height: 20, label: 'Graph', pick: row => app.pick('node', row.id, 'graph'),
      state: row => app.picked && app.picked.kind === 'node' && app.picked.id === row.id ? 'picked'
        : app.sets && app.sets.node.has(row.id) ? 'linked' : '',
      render: row => this.row(row)});
    this.element = h('section', {class: 'panel', style: {flex: 1}}, h('h2', {}, 'Graph', this.note, this.tools), this.list.element);
  }
  show() {
    const app = this.app, {model, query} = app;
    const passes = ['captured', 'simplified', 'fused'];
    this.tools.replaceChildren(...passes.map(pass => h('button', {'aria-pressed': String(pass === this.pass),
      on: {click: () => { this.pass = pass; app.show(); }}}, pass)));
    const graph = this.pass === 'captured' ? model.captured : model.graph;
    const keep = node => query.empty || query.matches(model.nodeText(node));
    const row = node => ({node, id: this.pass === 'captured' ? node.became : node.id,
      key: this.pass === 'captured' && node.became === undefined ? undefined : `node-${node.id}`});
    let rows = [];
    if (this.pass === 'fused') {
      for (const cluster of model.doc.clusters) {
        const members = cluster.members.map(id => graph.nodes[id]).filter(keep);
        if (members.length) rows.push({cluster}, ...members.map(row));
      }
    } else {
      rows = graph.nodes.filter(keep).map(row);
    }
    const shown = rows.filter(one => one.node).length;
    this.note.textContent = this.pass === 'fused' ? `${model.doc.clusters.length} clusters`
      : `${graph.nodes.length} nodes, ${graph.outputs.length} outputs`;
    this.found = `${shown} nodes`;
    this.list.set(rows);
    if (app.picked && app.origin !== 'graph')
      this.list.revealWhere(one => one.node && app.sets.node.has(one.id));
  }
  row({node, cluster}) {
    const {model, query} = this.app;
    if (cluster) {
      const sums = [cluster.row_reduction_axes && `sums along axes ${cluster.row_reduction_axes.join(', ')}`,
        cluster.column_reduction_axes && `sums across axes ${cluster.column_reduction_axes.join(', ')}`,
        cluster.contraction !== undefined && `product %${cluster.contraction}`].filter(Boolean);
      return h('div', {class: 'soft'}, h('b', {}, `cluster ${cluster.id}`), ` over [${cluster.extents.join(', ')}]`, sums.length ? `, ${sums.join(', ')}` : '');
    }
    const inputs = node.inputs.length ? separated(node.inputs.map(id => link(`%${id}`, () => this.list.revealWhere(one => one.node && one.node.id === id)))) : [];
    const more = [node.value, node.slot !== undefined && `slot ${node.slot}`, node.donated && 'donated',
      node.attributes && `(${node.attributes.join(', ')})`].filter(one => one !== undefined && one !== false);
    const dropped = this.pass === 'captured' && (node.became === undefined ? 'dropped' : node.became === node.id ? '' : `→ %${node.became}`);
    return h('div', {class: 'mono'}, h('span', {class: 'number', style: {width: '6ch'}}, `%${node.id}`),
      h('b', {}, marked(node.op, query)), h('span', {class: 'soft'}, model.type(node)), ...inputs, more.join(' '),
      h('span', {class: 'grow'}), h('span', {class: 'soft'}, dropped || ''),
      h('span', {class: 'soft'}, marked(node.scope || '', query)), h('span', {class: 'soft'}, marked(model.place(node), query)));
  }
}

class KernelsView {
  constructor(app) {
    this.app = app;
    const kernel = name => k => app.model.kernels[k][name];
    const rate = name => ({value: row => row.rates ? row.rates[name] : undefined, right: true,
      show: row => row.rates && row.rates[name] ? String(Number(row.rates[name].toPrecision(3))) : ''});
    this.note = h('span', {class: 'soft'});
    this.table = new Table({label: 'Kernels', pick: row => { app.pick('kernel', row.id, 'kernel'); app.setView('pipeline'); },
      state: row => app.picked && app.picked.kind === 'kernel' && app.picked.id === row.id ? 'picked' : app.sets && app.sets.kernel.has(row.id) ? 'linked' : '',
      columns: [
        {title: 'kernel', width: '3fr', value: row => row.id, show: row => marked(kernel('name')(row.id), app.query)},
        {title: 'segments', width: '90px', value: row => kernel('segments')(row.id).length, right: true},
        {title: 'nodes', width: '80px', value: row => app.model.kernelNodes[row.id].size, right: true},
        {title: 'instructions', width: '110px', value: row => kernel('instructions')(row.id), right: true},
        {title: 'bytes', width: '100px', value: row => kernel('bytes')(row.id), show: row => bytesText(kernel('bytes')(row.id)), right: true,
          meaning: 'the fewest that have to be moved'},
        {title: 'FLOPs', width: '90px', value: row => kernel('flops')(row.id), show: row => kernel('flops')(row.id) ? countText(kernel('flops')(row.id)) : '', right: true,
          meaning: 'of the product in it'},
        {title: 'time', width: '80px', ...rate('ms'), show: row => row.rates ? timeText(row.rates.ms) : ''},
        {title: 'GB/s', width: '80px', ...rate('gbps')},
        {title: 'GFLOP/s', width: '90px', ...rate('gflops')},
        {title: 'of ceiling', width: '140px', right: true, value: row => row.rates ? row.rates.share : undefined,
          show: row => row.rates && row.rates.share !== null ? [meter(row.rates.share), `${Math.round(100 * row.rates.share)} %`] : ''}]});
    this.element = h('section', {class: 'panel', style: {flex: 1}}, h('h2', {}, 'Kernels', this.note), this.table.element);
  }
  show() {
    const {model, query} = this.app;
    const rows = model.kernels.map((_, id) => ({id, key: `kernel-${id}`, rates: model.rates(id)}))
      .filter(row => query.empty || query.matches(this.app.views.pipeline.kernelText(row.id)));
    const measured = rows.some(row => row.rates);
    this.note.textContent = `${rows.length}${measured ? '' : ' · no times: measured.json is not in this bundle'}`;
    this.found = `${rows.length} of ${model.kernels.length} kernels`;
    this.table.set(rows);
  }
}
function meter(share) {
  return h('span', {class: 'meter'}, h('i', {style: {width: `${Math.min(100, 100 * share)}%`}}));
}

class FusionView {
  constructor(app) {
    this.app = app;
    this.note = h('span', {class: 'soft'});
    this.table = new Table({label: 'Refused fusions', pick: row => { app.pick('node', row.node, 'fusion'); },
      state: row => app.picked && app.picked.kind === 'node' && app.picked.id === row.node ? 'picked' : '',
      columns: [
        {title: 'why', width: '2fr', value: row => row.why, show: row => marked(row.why, app.query)},
        {title: 'node', width: '2fr', value: row => row.node, show: row => this.name(row.node)},
        {title: 'with', width: '2fr', value: row => row.other, show: row => this.name(row.other)},
        {title: 'scope', width: '2fr', value: row => app.model.nodes[row.node].scope || ''},
        {title: 'line', width: '200px', value: row => app.model.place(app.model.nodes[row.node])},
        {title: 'kernels', width: '90px', right: true, value: row => [row.node, row.other].map(id => app.model.kernelsOf[id][0] ?? '').join(' | ')}]});
    this.advice = h('div', {class: 'details'});
    this.element = h('section', {class: 'panel', style: {flex: 1}}, h('h2', {}, 'Not fused', this.note), this.table.element, this.advice);
  }
  name(id) {
    const {model} = this.app, node = model.nodes[id];
    return node ? `%${id} ${node.op} ${model.type(node)}` : '';
  }
  show() {
    const {model, query} = this.app, all = model.doc.refusals || [];
    const rows = all.filter(row => model.nodes[row.node] && (query.empty || query.matches(`${row.why} ${model.nodeText(model.nodes[row.node])}`)))
      .map((row, i) => ({...row, key: `refusal-${i}`}));
    const counts = new Map();
    for (const {why} of rows) counts.set(why, (counts.get(why) || 0) + 1);
    this.note.textContent = `${rows.length}`;
    this.found = `${rows.length} of ${all.length} refusals`;
    const advice = new Map(rows.map(row => [row.why, row.advice || '']));
    this.advice.hidden = advice.size === 0;
    this.advice.replaceChildren(h('dl', {}, [...advice].sort((a, b) => counts.get(b[0]) - counts.get(a[0]))
      .flatMap(([why, text]) => [h('dt', {}, `${counts.get(why)} × ${why}`), h('dd', {}, text)])));
    this.table.set(rows);
  }
}

// Why each trace of the folder was compiled.
class HistoryView {
  constructor(app) {
    this.app = app;
    this.note = h('span', {class: 'soft'});
    const doc = (row, get) => row.doc ? get(row.doc) : undefined;
    this.table = new Table({label: 'Traces', pick: row => app.setTrace(row.id),
      state: row => row.id === app.traceId ? 'picked' : '',
      columns: [
        {title: 'trace', width: '140px', value: row => row.model.name},
        {title: 'sync', width: '70px', value: row => doc(row, d => d.sync.kind)},
        {title: 'at', width: '200px', value: row => doc(row, d => d.sync.line === undefined ? '' : row.model.place(d.sync))},
        {title: 'compiled because', width: '150px', value: row => row.failed ? 'failed' : doc(row, d => d.miss ? d.miss.reason : '')},
        {title: 'what differed', width: '3fr', value: row => doc(row, missText), show: row => marked(doc(row, missText) || '', app.query)},
        {title: 'nearest known', width: '130px', value: row => doc(row, d => d.miss && d.miss.nearest ? d.miss.nearest.slice(0, 8) : '')},
        {title: 'nodes', width: '80px', value: row => doc(row, d => d.statistics.nodes), right: true},
        {title: 'kernels', width: '80px', value: row => doc(row, d => d.statistics.launches), right: true},
        {title: 'compiled', width: '90px', value: row => doc(row, d => d.compiled.length), right: true, meaning: 'kernels that were not known'}]});
    this.details = h('div', {class: 'details'});
    this.element = h('section', {class: 'panel', style: {flex: 1}}, h('h2', {}, 'Compiled traces', this.note), this.table.element, this.details);
  }
  show() {
    const {models, query} = this.app;
    const rows = models.map((model, id) => ({id, key: `trace-${id}`, model, doc: model.doc, failed: model.entry.failed}))
      .filter(row => query.empty || query.matches(`${row.model.name} ${row.doc ? `${JSON.stringify(row.doc.miss || '')} ${row.doc.sync.kind} ${row.model.place(row.doc.sync)}` : 'failed'}`));
    this.note.textContent = `${models.length} in order of compilation`;
    this.found = `${rows.length} of ${models.length} traces`;
    this.table.set(rows);
    this.showDetails();
  }
  // Why the trace at hand was compiled, and what to do about it.
  showDetails() {
    const {app} = this, {model, models} = app, doc = model && model.doc, miss = doc && doc.miss;
    const nearest = miss && miss.nearest ? models.findIndex(other => other.doc && other.doc.key === miss.nearest) : -1;
    const kernels = (doc && doc.kernel_misses || []).map(one => h('div', {}, `${one.name || ''} ${one.reason}: ${one.explanation || ''}`));
    const facts = [['trace', doc ? [`${model.name} `, link('show its pipeline', () => app.setView('pipeline'))] : ''],
      ['compiled because', miss ? `${miss.reason}${miss.meaning ? `: ${miss.meaning}` : ''}` : ''], ['what differed', miss ? missText(doc) : ''],
      ['nearest known', nearest >= 0 ? [link(models[nearest].name, () => app.setTrace(nearest))] : miss && miss.nearest || ''],
      ['advice', miss && miss.advice || ''], ['kernels', kernels]];
    this.details.hidden = !doc;
    this.details.replaceChildren(h('dl', {}, facts.filter(([, value]) => value.length)
      .flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])));
  }
}
// What was told of a miss, without the trace's name, which stands in the row already.
function missText(doc) {
  return doc.miss ? (doc.miss.explanation || '').replace(/^trace [0-9a-f]+ \([^)]*\): /, '') : '';
}
