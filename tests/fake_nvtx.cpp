// A tool that listens to NVTX: writes each range that begins and ends to the file FAKE_NVTX_FILE,
// behind the thread's number. It knows nothing of Encore but NVTX' binary interface.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace {

std::mutex mutex;

void write_line(const char* what, const char* name) {
  std::lock_guard lock(mutex);
  std::FILE* file = std::fopen(std::getenv("FAKE_NVTX_FILE"), "a");
  std::fprintf(file, "%d %s %s\n", int(gettid()), what, name);
  std::fclose(file);
}

int push(const char* name) {
  write_line("push", name);
  return 0;
}
int pop() {
  write_line("pop", "");
  return 0;
}

struct Callbacks {
  size_t bytes;
  int (*table)(int module, void (****table)(), unsigned* size);
};

}  // namespace

extern "C" int InitializeInjectionNvtx2(const void* (*export_table)(uint32_t)) {
  auto* callbacks = static_cast<const Callbacks*>(export_table(1));
  if (!callbacks || callbacks->bytes < sizeof(Callbacks)) return 0;
  for (int module = 1; module <= 6; ++module) {
    void (***table)() = nullptr;
    unsigned size = 0;
    if (!callbacks->table(module, &table, &size) || !table || size < 2) return 0;
    for (unsigned i = 1; i < size; ++i)
      if (!table[i] || *table[i]) return 0;  // every slot is there, and empty
    if (module != 1) continue;
    *table[9] = reinterpret_cast<void (*)()>(push);
    *table[11] = reinterpret_cast<void (*)()>(pop);
  }
  return std::getenv("FAKE_NVTX_REFUSES") ? 0 : 1;
}
