'use strict';
// What one trace's document says, indexed both ways: lines <-> nodes <-> kernels <-> buffers.
class Model {
  constructor(entry, report) {
    this.name = entry.name;
    this.entry = entry;
    this.report = report;
    const doc = this.doc = entry.document;
    if (!doc) return;
    const graph = pass => (doc.graphs.find(g => g.pass === pass) || {nodes: [], outputs: []});
    this.captured = graph('captured');
    this.graph = graph('simplified');
    this.nodes = this.graph.nodes;
    this.kernels = doc.kernels;
    this.measured = entry.measured || {};
    this.usersOf = this.nodes.map(() => []);
    for (const node of this.nodes)
      for (const input of new Set(node.inputs)) this.usersOf[input].push(node.id);
    this.indexLines();
    this.indexKernels();
    this.buffersOf = this.nodes.map(() => []);
    for (const buffer of doc.buffers) this.buffersOf[buffer.node].push(buffer.id);
    this.refusalsOf = new Map();
    for (const refusal of doc.refusals) push(this.refusalsOf, refusal.node, refusal);
    this.capturedOf = this.nodes.map(() => []);
    for (const node of this.captured.nodes)
      if (node.became !== undefined) this.capturedOf[node.became].push(node.id);
    this.outputs = new Set(this.graph.outputs);
  }

  indexLines() {
    const found = new Map();
    for (const node of this.nodes)
      if (node.line !== undefined) push(found, `${node.file}:${node.line}`, node.id);
    this.lines = [...found].map(([place, nodes]) => {
      const [file, line] = place.split(':').map(Number);
      return {file, line, nodes, kernels: new Set()};
    }).sort((a, b) => a.file - b.file || a.line - b.line);
    this.lineOf = new Array(this.nodes.length).fill(-1);
    this.lines.forEach((line, i) => { for (const id of line.nodes) this.lineOf[id] = i; });
  }

  indexKernels() {
    this.kernelsOf = this.nodes.map(() => []);
    this.kernelNodes = this.kernels.map(kernel => {
      const nodes = new Set();
      for (const part of kernel.segments) for (const id of [...part.nodes, ...part.inlined]) nodes.add(id);
      return nodes;
    });
    this.kernelNodes.forEach((nodes, k) => { for (const id of nodes) this.kernelsOf[id].push(k); });
    this.readersOf = this.doc.buffers.map(() => new Set());
    this.kernels.forEach((kernel, k) => {
      for (const part of kernel.segments) for (const argument of part.arguments) {
        this.readersOf[argument.buffer].add(k);
        const id = this.doc.buffers[argument.buffer].node;
        if (this.nodes[id].inputs.length === 0 && this.kernelsOf[id].at(-1) !== k) this.kernelsOf[id].push(k);
      }
    });
    for (const line of this.lines)
      for (const id of line.nodes) for (const k of this.kernelsOf[id]) line.kernels.add(k);
  }

  // What hangs together with a line, node or kernel.
  related(kind, id) {
    const sets = {line: new Set(), node: new Set(), kernel: new Set()};
    if (kind === 'line') {
      sets.line.add(id);
      for (const node of this.lines[id].nodes) sets.node.add(node);
      for (const k of this.lines[id].kernels) sets.kernel.add(k);
    } else if (kind === 'node') {
      sets.node.add(id);
      if (this.lineOf[id] >= 0) sets.line.add(this.lineOf[id]);
      for (const k of this.kernelsOf[id]) sets.kernel.add(k);
    } else if (kind === 'kernel') {
      sets.kernel.add(id);
      for (const node of this.kernelNodes[id]) {
        sets.node.add(node);
        if (this.lineOf[node] >= 0) sets.line.add(this.lineOf[node]);
      }
    }
    return sets;
  }

  fileName(file) { return this.doc.files[file]; }
  place(thing) { return thing.line === undefined ? '' : `${shortFile(this.fileName(thing.file))}:${thing.line}`; }
  // The text of a source line; undefined where the file could not be read.
  sourceText(file, line) { return (this.report.sources[this.fileName(file)] || {})[line]; }
  type(node) { return `${node.dtype}[${node.shape.join(', ')}]`; }
  nodeText(node) {
    const inputs = node.inputs.map(i => ` %${i}`).join('');
    const value = node.value !== undefined ? ` ${node.value}` : node.slot !== undefined ? ` ${node.slot}` : '';
    return `%${node.id} ${node.op} ${this.type(node)}${value}${inputs} ${node.scope || ''} ${this.place(node)}`;
  }
  listing(k, kind) {
    const file = this.kernels[k].files[kind];
    return file === undefined || !(file in this.entry.texts) ? '' : this.report.texts[this.entry.texts[file]];
  }
  // Time and rates of a kernel, where it was measured.
  rates(k) {
    const known = (this.measured.kernels || {})[this.kernels[k].name];
    if (!known || !(known.ms > 0)) return null;
    const bytes = known.bytes ?? this.kernels[k].bytes, flops = known.flops ?? this.kernels[k].flops;
    const ceiling = this.measured.ceiling || {};
    const gbps = bytes / known.ms / 1e6, gflops = flops / known.ms / 1e6;
    const shares = [];
    if (ceiling.GBps > 0) shares.push(gbps / ceiling.GBps);
    if (ceiling.GFLOPs > 0) shares.push(gflops / ceiling.GFLOPs);
    return {ms: known.ms, gbps, gflops, share: shares.length ? Math.max(...shares) : null};
  }
  // Where a buffer lives, in words.
  home(buffer) {
    if (buffer.role === 'leaf') return `leaf ${buffer.leaf}`;
    if (buffer.home === 'leaf') return `takes over leaf ${buffer.leaf}${buffer.offset ? ` +${buffer.offset}` : ''}`;
    if (buffer.home === 'arena') return `arena +${buffer.offset}`;
    return buffer.inside === buffer.id ? 'output' : `in output ${buffer.inside} +${buffer.offset}`;
  }
}

function push(map, key, value) {
  if (!map.has(key)) map.set(key, []);
  map.get(key).push(value);
}
function shortFile(file) { return file.slice(file.lastIndexOf('/') + 1); }

// 12345 -> "12.1 KiB"; the same for floating-point operations, in thousands.
function bytesText(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return scaled(bytes, 1024, ['KiB', 'MiB', 'GiB', 'TiB']);
}
function countText(count) {
  return count < 1000 ? String(count) : scaled(count, 1000, ['k', 'M', 'G', 'T']);
}
function timeText(ms) {
  const [scale, unit] = ms >= 1 ? [1, 'ms'] : ms >= 1e-3 ? [1e3, 'µs'] : [1e6, 'ns'];
  return `${Number((scale * ms).toPrecision(3))} ${unit}`;
}
function scaled(value, base, units) {
  let unit = -1;
  do { value /= base; ++unit; } while (value >= base && unit + 1 < units.length);
  return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${units[unit]}`;
}

// The words of a query must all occur; %12 means that very node.
class Query {
  constructor(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(word => word);
  }
  get empty() { return this.words.length === 0; }
  matches(text) {
    const low = text.toLowerCase();
    return this.words.every(word => /^%\d+$/.test(word)
      ? new RegExp(`${word}(?!\\d)`).test(low) : low.includes(word));
  }
}
