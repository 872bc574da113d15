#include <encore/core/events.h>
#include <encore/lazy/compute_bits.h>
#include <encore/trace/program.h>

namespace encore::trace {

int64_t Program::bytes() const {
  int64_t total = int64_t(sizeof *this + words.size() * 8 + places.size() * sizeof(Place));
  for (const Launch& launch : launches)
    for (const Segment& segment : launch.segments)
      total += int64_t(sizeof segment + segment.buffers.size() * 4 + segment.sizes.size() * 8);
  return total;
}

namespace {

/// The address of every buffer, and the new output buffers.
std::vector<Ref<Buffer>> bind(const Program& program, const Capture& capture, jit::Backend& backend,
                              ReplayScratch& scratch) {
  if (program.arena_bytes &&
      (!scratch.arena || int64_t(scratch.arena->bytes()) < program.arena_bytes)) {
    scratch.arena = nullptr;
    scratch.arena = backend.allocate(size_t(program.arena_bytes));
  }
  std::vector<Ref<Buffer>> outputs(program.output_buffers.size());
  scratch.places.resize(program.places.size());
  for (size_t i = 0; i < program.places.size(); ++i) {
    const Program::Place& place = program.places[i];
    Ref<Buffer> held;
    if (place.leaf != ~0u)
      held = capture.leaves[place.leaf]->buffer;
    else if (place.output != ~0u)
      held = backend.allocate(size_t(place.bytes));
    if (place.output != ~0u) outputs[place.output] = held;
    scratch.places[i] = held ? held->data()
                        : place.arena_offset >= 0
                            ? static_cast<std::byte*>(scratch.arena->data()) + place.arena_offset
                            : nullptr;
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!outputs[i]) outputs[i] = outputs[program.places[program.output_buffers[i]].output];
  return outputs;
}

}  // namespace

std::vector<Ref<Buffer>> replay(const Program& program, const Capture& capture,
                                jit::Backend& backend, ReplayScratch& scratch) {
  scratch.launched = false;
  std::vector<Ref<Buffer>> outputs = bind(program, capture, backend, scratch);
  scratch.pointers.resize(program.pointer_count);
  scratch.scalars.resize(program.scalar_count);
  scratch.segments.resize(program.segment_count);
  void** pointers = scratch.pointers.data();
  uint64_t* scalars = scratch.scalars.data();
  jit::Segment* segments = scratch.segments.data();
  for (const Program::Launch& launch : program.launches) {
    jit::Segment* first = segments;
    for (const Program::Segment& segment : launch.segments) {
      *segments++ = {pointers, segment.sizes.data(), scalars};
      for (uint32_t buffer : segment.buffers) *pointers++ = scratch.places[buffer];
      for (uint32_t slot : segment.scalar_slots)
        *scalars++ = compute_bits(capture.scalars[slot]->dtype, capture.scalars[slot]->bits);
    }
    scratch.launched = true;
    launch.code->launch({first, segments});
    if (events::wanted(EventKind::launch))
      events::report({EventKind::launch, launch.name, {}, int64_t(launch.segments.size())});
  }
  return outputs;
}

}  // namespace encore::trace
