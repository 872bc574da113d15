#include <encore/core/span.h>
#include <encore/trace/program.h>

namespace encore::trace {

namespace {

/// What an allocation costs beside its bytes.
constexpr size_t allocation_bytes = 16;
/// What the cache keeps to find a program.
constexpr size_t entry_bytes = 192;
/// A launch's code in a sequence, with what prepares its call.
constexpr size_t prepared_bytes = 64;

template <class T>
size_t bytes_of(const std::vector<T>& vector) {
  return vector.capacity() ? vector.capacity() * sizeof(T) + allocation_bytes : 0;
}

}  // namespace

int64_t Program::bytes() const {
  size_t total = sizeof *this + entry_bytes + bytes_of(words) + bytes_of(launches) +
                 bytes_of(places) + bytes_of(output_buffers) + bytes_of(overwritten_leaves) +
                 launches.size() * prepared_bytes;
  for (const jit::Label& label : *labels)
    total += sizeof label + label.name.capacity() + label.about.capacity();
  for (const Launch& launch : launches) {
    total += bytes_of(launch.segments);
    for (const Segment& segment : launch.segments)
      total += bytes_of(segment.buffers) + bytes_of(segment.sizes) + bytes_of(segment.scalar_slots);
  }
  return int64_t(total);
}

namespace {

void find_arena(const Program& program, jit::Backend& backend, Ref<Buffer>& arena) {
  if (!program.arena_bytes || (arena && int64_t(arena->bytes()) >= program.arena_bytes)) return;
  arena = nullptr;
  arena = backend.allocate(size_t(program.arena_bytes));
}

/// The address of every buffer, and the new output buffers.
std::vector<Ref<Buffer>> bind(const Program& program, const Capture& capture, jit::Backend& backend,
                              ReplayScratch& scratch) {
  find_arena(program, backend, scratch.arena);
  std::vector<Ref<Buffer>> outputs(program.output_buffers.size());
  scratch.places.resize(program.places.size());
  auto at = [](void* memory, int64_t offset) { return static_cast<std::byte*>(memory) + offset; };
  for (uint32_t i = 0; i < program.places.size(); ++i) {
    const Program::Place& place = program.places[i];
    Ref<Buffer> held;
    if (place.leaf != ~0u)
      held = capture.leaves[place.leaf]->buffer;
    else if (place.inside == i)
      held = backend.allocate(size_t(place.bytes));
    if (place.output != ~0u) outputs[place.output] = held;
    if (held) scratch.places[i] = at(held->data(), place.offset);
  }
  void* arena = program.arena_bytes ? scratch.arena->data() : nullptr;
  for (uint32_t i = 0; i < program.places.size(); ++i) {
    const Program::Place& place = program.places[i];
    if (place.leaf != ~0u || place.inside == i) continue;
    scratch.places[i] =
        at(place.inside != ~0u ? scratch.places[place.inside] : arena, place.offset);
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!outputs[i]) outputs[i] = outputs[program.places[program.output_buffers[i]].output];
  return outputs;
}

/// The host allocates anew at once; there the arena is no one's between two replays.
struct ReleaseHostArena {
  ReplayScratch& scratch;
  ~ReleaseHostArena() {
    if (!scratch.arena || scratch.arena->device() != cpu) return;
    scratch.released_bytes = int64_t(scratch.arena->bytes());
    scratch.arena = nullptr;
  }
};

}  // namespace

std::vector<Ref<Buffer>> replay(const Program& program, const Capture& capture,
                                jit::Backend& backend, ReplayScratch& scratch) {
  Span span("replay");
  scratch.progress = {};
  scratch.released_bytes = 0;
  ReleaseHostArena release{scratch};
  std::vector<Ref<Buffer>> outputs = bind(program, capture, backend, scratch);
  scratch.pointers.resize(program.pointer_count);
  scratch.scalars.resize(program.scalar_count);
  scratch.segments.resize(program.segment_count);
  scratch.launches.clear();
  void** pointers = scratch.pointers.data();
  uint64_t* scalars = scratch.scalars.data();
  jit::Segment* segments = scratch.segments.data();
  for (const Program::Launch& launch : program.launches) {
    jit::Segment* first = segments;
    for (const Program::Segment& segment : launch.segments) {
      *segments++ = {pointers, segment.sizes.data(), scalars, nullptr, 0};
      if (segment.scratch != ~0u) {
        segments[-1].scratch = scratch.places[segment.scratch];
        segments[-1].scratch_bytes = size_t(program.places[segment.scratch].bytes);
      }
      for (uint32_t buffer : segment.buffers) *pointers++ = scratch.places[buffer];
      for (uint32_t slot : segment.scalar_slots) *scalars++ = capture.scalars[slot].value;
    }
    scratch.launches.push_back({first, segments});
  }
  program.sequence->run(scratch.launches, scratch.progress);
  if (events::wanted(EventKind::launch))
    for (size_t i = 0; i < program.launches.size(); ++i)
      events::report({EventKind::launch,
                      (*program.labels)[i].name,
                      {},
                      int64_t(program.launches[i].segments.size())});
  return outputs;
}

}  // namespace encore::trace
