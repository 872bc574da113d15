#include <encore/trace/find_dependencies.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace encore::trace {
namespace {

constexpr uint32_t nobody = ~0u;

/// Of a piece of memory: who wrote it last, and who read it since.
struct Piece {
  int64_t end = 0;
  uint32_t writer = nobody;
  std::vector<uint32_t> readers;
};

/// One leaf's memory, one new output's, or the arena, cut where uses of it begin and end.
class Memory {
 public:
  /// Names whom `launch` must wait for to use the bytes [begin, end).
  void use(int64_t begin, int64_t end, bool writes, uint32_t launch,
           std::vector<uint32_t>& waits_for) {
    if (begin == end) return;
    cut(begin);
    cut(end);
    fill(begin, end);
    for (auto at = pieces_.find(begin); at != pieces_.end() && at->first < end; ++at) {
      Piece& piece = at->second;
      if (piece.writer != nobody) waits_for.push_back(piece.writer);
      if (!writes) {
        if (piece.readers.empty() || piece.readers.back() != launch)
          piece.readers.push_back(launch);
        continue;
      }
      waits_for.insert(waits_for.end(), piece.readers.begin(), piece.readers.end());
      piece.readers.clear();
      piece.writer = launch;
    }
  }

 private:
  /// A piece that holds this place inside becomes two.
  void cut(int64_t place) {
    auto behind = pieces_.upper_bound(place);
    if (behind == pieces_.begin()) return;
    auto at = std::prev(behind);
    if (at->first == place || at->second.end <= place) return;
    pieces_[place] = at->second;
    at->second.end = place;
  }

  /// Pieces for what nobody has used so far.
  void fill(int64_t begin, int64_t end) {
    while (begin < end) {
      auto next = pieces_.lower_bound(begin);
      if (next != pieces_.end() && next->first == begin) {
        begin = next->second.end;
        continue;
      }
      int64_t until = next == pieces_.end() ? end : std::min(end, next->first);
      pieces_[begin].end = until;
      begin = until;
    }
  }

  std::map<int64_t, Piece> pieces_;  // by where they begin
};

bool is_written(const jit::Argument& argument) { return argument.use != jit::Use::read; }

/// Once each, not itself, and none that another of them names.
void thin_out(uint32_t launch, jit::Dependencies& all) {
  std::vector<uint32_t>& mine = all[launch];
  std::sort(mine.begin(), mine.end());
  mine.erase(std::unique(mine.begin(), mine.end()), mine.end());
  std::erase(mine, launch);
  std::vector<uint32_t> named;
  for (uint32_t one : mine) named.insert(named.end(), all[one].begin(), all[one].end());
  std::sort(named.begin(), named.end());
  std::erase_if(mine,
                [&](uint32_t one) { return std::binary_search(named.begin(), named.end(), one); });
}

}  // namespace

jit::Dependencies find_dependencies(const LoweredTrace& trace,
                                    const std::vector<uint32_t>& launch_of,
                                    const MemoryPlan& plan) {
  jit::Dependencies waits_for(launch_of.empty() ? 0 : launch_of.back() + 1);
  std::map<std::pair<uint32_t, uint32_t>, Memory> memories;  // by leaf and output
  for (size_t first = 0; first < trace.kernels.size();) {
    const uint32_t launch = launch_of[first];
    for (; first < trace.kernels.size() && launch_of[first] == launch; ++first) {
      const PlannedKernel& kernel = trace.kernels[first];
      auto use = [&](uint32_t buffer, bool writes) {
        const MemoryPlan::Home& home = plan.homes[buffer];
        memories[{home.leaf, home.output}].use(home.offset,
                                               home.offset + trace.buffers[buffer].bytes, writes,
                                               launch, waits_for[launch]);
      };
      for (size_t i = 0; i < kernel.buffers.size(); ++i)
        use(kernel.buffers[i], is_written(kernel.kernel.arguments[i]));
      if (kernel.scratch != nobody) use(kernel.scratch, true);
    }
    thin_out(launch, waits_for);
  }
  return waits_for;
}

}  // namespace encore::trace
