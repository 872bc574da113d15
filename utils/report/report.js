// The report: which trace, which view, what is picked, what is searched for.
class App {
  constructor(report) {
    this.report = report;
    this.models = report.traces.map(entry => new Model(entry, report));
    this.query = new Query('');
    this.main = document.getElementById('main');
    this.search = document.querySelector('#search input');
    this.tipBox = h('div', {id: 'tip'});
    document.body.append(this.tipBox);
    this.views = {pipeline: new PipelineView(this), graph: new GraphView(this), memory: new MemoryView(this),
      kernels: new KernelsView(this), fusion: new FusionView(this), history: new HistoryView(this)};
    this.view = 'pipeline';
    this.makeBar();
    this.listen();
    this.fromHash();
  }

  makeBar() {
    this.select = document.getElementById('trace');
    this.select.append(...this.models.map((model, id) => h('option', {value: id}, this.traceTitle(model))));
    this.select.addEventListener('change', () => this.setTrace(Number(this.select.value)));
    const titles = {pipeline: 'Pipeline', graph: 'Graph', memory: 'Memory', kernels: 'Kernels', fusion: 'Fusion', history: 'History'};
    document.getElementById('views').append(...Object.entries(titles).map(([view, title]) =>
      h('button', {data: {view}, on: {click: () => this.setView(view)}}, title)));
    document.title = `Encore: ${this.report.folder}`;
  }
  traceTitle(model) {
    if (!model.doc) return `${model.name} · failed`;
    const {sync, statistics} = model.doc;
    return `${model.name} · ${sync.kind} ${model.place(sync)} · ${statistics.launches} kernels`;
  }

  listen() {
    this.search.addEventListener('input', () => { this.query = new Query(this.search.value); this.views.pipeline.hit = undefined; this.show(); });
    this.search.addEventListener('keydown', event => {
      if (event.key === 'Enter' && this.view === 'pipeline') this.views.pipeline.nextHit();
      if (event.key === 'Escape') { this.setQuery(''); this.search.blur(); }
    });
    document.addEventListener('keydown', event => {
      if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === '/') { event.preventDefault(); this.search.focus(); this.search.select(); }
      if (event.key === 'Escape') this.pick(null);
    });
    window.addEventListener('hashchange', () => { if (location.hash !== this.hash) this.fromHash(); });
  }

  setQuery(text) { this.search.value = text; this.query = new Query(text); this.show(); }
  setView(view) { this.view = view; this.origin = undefined; this.show(); }
  setOnly(only) { this.only = only; this.show(); }
  setTrace(id) {
    this.traceId = Math.min(Math.max(0, id || 0), this.models.length - 1);
    this.select.value = this.traceId;
    [this.picked, this.sets, this.only] = [null, null, false];
    this.views.pipeline.kernel = undefined;
    this.show();
  }
  // `origin` names the list where that happened, which stays where it is.
  pick(kind, id, origin) {
    this.picked = kind ? {kind, id} : null;
    this.sets = kind ? this.model.related(kind, id) : null;
    if (!kind) this.only = false;
    this.origin = origin;
    this.show();
  }
  get model() { return this.models[this.traceId]; }

  show() {
    const view = this.views[this.view], model = this.model;
    for (const button of document.querySelectorAll('#views button'))
      button.setAttribute('aria-pressed', String(button.dataset.view === this.view));
    this.showSummary();
    if (!model || (!model.doc && this.view !== 'history')) {
      this.main.replaceChildren(model ? this.plainTexts(model) : h('p', {class: 'empty'}, 'This folder holds no traces.'));
    } else {
      if (this.main.firstChild !== view.element) this.main.replaceChildren(view.element);
      view.show();
    }
    document.getElementById('found').textContent = this.query.empty ? '' : view.found || '';
    this.toHash();
  }

  // A compilation that failed early left texts only.
  plainTexts(model) {
    const names = Object.keys(model.entry.texts);
    return h('section', {class: 'panel', style: {flex: 1}}, h('h2', {}, names.length ? 'This compilation failed; what it left:' : 'This compilation left nothing.'),
      h('pre', {class: 'mono', style: {overflow: 'auto', margin: 0, padding: '12px'}},
        names.map(name => `== ${name}\n${this.report.texts[model.entry.texts[name]]}\n`).join('')));
  }

  showSummary() {
    const model = this.model, box = document.getElementById('summary');
    if (!model || !model.doc) return box.replaceChildren();
    const {statistics, memory, kernels, miss, sync, device} = model.doc;
    const sum = name => kernels.reduce((all, kernel) => all + kernel[name], 0);
    const facts = [['sync', `${sync.kind} at ${model.place(sync)}`], ['device', device],
      ['nodes', `${statistics.nodes_captured} → ${statistics.nodes}`], ['kernels', `${statistics.kernels} in ${statistics.launches} launches`],
      ['memory', bytesText(memory.total_bytes)], ['moved at least', bytesText(sum('bytes'))]];
    if (sum('flops')) facts.push(['products', `${countText(sum('flops'))}FLOP`]);
    const out = model.doc.left_out;
    if (out) facts.push(['left out', `${(out.nodes || out.captured_nodes).toLocaleString('en')} nodes: too many for a page`]);
    if (miss) facts.push(['compiled because', miss.reason]);
    if (model.entry.failed) facts.push(['outcome', 'the compilation failed']);
    box.replaceChildren(...facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
  }

  tip(event, text) {
    this.tipBox.style.display = event ? 'block' : 'none';
    if (!event) return;
    this.tipBox.textContent = text;
    this.tipBox.style.left = `${Math.min(event.clientX + 14, innerWidth - this.tipBox.offsetWidth - 8)}px`;
    this.tipBox.style.top = `${Math.min(event.clientY + 14, innerHeight - this.tipBox.offsetHeight - 8)}px`;
  }

  // The address keeps the state, so that a view can be linked to and the back button works.
  toHash() {
    const state = new URLSearchParams({trace: this.model ? this.model.name : '', view: this.view});
    if (this.picked) state.set(this.picked.kind, this.picked.id);
    if (!this.query.empty) state.set('search', this.search.value);
    this.hash = `#${state}`;
    if (location.hash !== this.hash) history.replaceState(null, '', this.hash);
  }
  fromHash() {
    const state = new URLSearchParams(location.hash.slice(1));
    const id = this.models.findIndex(model => model.name === state.get('trace'));
    this.view = this.views[state.get('view')] ? state.get('view') : 'pipeline';
    this.search.value = state.get('search') || '';
    this.query = new Query(this.search.value);
    this.setTrace(id >= 0 ? id : this.largest());
    const sizes = this.model && this.model.doc ? {line: this.model.lines.length, node: this.model.nodes.length, kernel: this.model.kernels.length} : {};
    for (const [kind, size] of Object.entries(sizes)) {
      const picked = Number(state.get(kind) ?? NaN);
      if (picked >= 0 && picked < size) this.pick(kind, picked);
    }
  }
  // The last of the steps with the most kernels; without steps, of all traces.
  largest() {
    const weight = model => model.doc ? model.kernels.length + (model.doc.sync.kind === 'step' ? 1e9 : 0) : -1;
    const weights = this.models.map(weight);
    return weights.lastIndexOf(Math.max(...weights));
  }
}

async function start() {
  const packed = Uint8Array.from(atob(document.getElementById('data').textContent.trim()), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  window.app = new App(JSON.parse(await new Response(stream).text()));
}
start().catch(error => {
  document.getElementById('main').replaceChildren(h('p', {class: 'empty'}, `The report cannot be shown: ${error.message}`));
  console.error(error);
});
