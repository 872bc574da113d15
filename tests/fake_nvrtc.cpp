// A compiler for CUDA without a device: generated CUDA C becomes a library for the host, which
// tests/fake_cuda_driver.cpp loads and runs as the emulator does. Built as a libnvrtc.so.13 of its
// own.
#include <encore/jit/cuda/prelude.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>

#include "cuda_emulator.h"

namespace {

struct Program {
  std::string source, binary, log;
};

std::string read_file(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// The text for the host, with a way to call each kernel by its name.
std::string host_source(std::string text) {
  std::string device = encore::jit::cuda::device_prelude();
  if (size_t at = text.find(device); at != std::string::npos)
    text.replace(at, device.size(), encore::jit::cuda::emulator_shim());
  return text + encore::jit::cuda::emulator_calls(text);
}

/// Compiles each text once in a process.
bool compile(Program& program) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::string, std::string>;
  std::lock_guard lock(mutex);
  std::string& binary = known[program.source];
  if (binary.empty()) {
    char folder_name[] = "/tmp/encore_fake_nvrtc_XXXXXX";
    std::string folder = mkdtemp(folder_name);
    std::ofstream(folder + "/kernels.cpp") << host_source(program.source);
    std::string command = fmt::format(
        "cd {} && g++ -std=c++17 -O0 -w -fPIC -shared -ffp-contract=off -fno-strict-aliasing -mfma "
        "-o kernels.so kernels.cpp 2> errors",
        folder);
    if (std::system(command.c_str()) == 0) binary = read_file(folder + "/kernels.so");
    program.log = read_file(folder + "/errors");
    std::filesystem::remove_all(folder);
  }
  program.binary = binary;
  return !binary.empty();
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 99;
  return 0;
}

int nvrtcCreateProgram(Program** program, const char* source, const char*, int, const char* const*,
                       const char* const*) {
  *program = new Program{source, {}, {}};
  return 0;
}

int nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return 0;
}

int nvrtcCompileProgram(Program* program, int, const char* const*) {
  return compile(*program) ? 0 : 6;  // NVRTC_ERROR_COMPILATION
}

int nvrtcGetCUBINSize(Program* program, size_t* size) {
  *size = program->binary.size();
  return 0;
}

int nvrtcGetCUBIN(Program* program, char* bytes) {
  std::memcpy(bytes, program->binary.data(), program->binary.size());
  return 0;
}

int nvrtcGetPTXSize(Program*, size_t* size) {
  *size = 1;
  return 0;
}

int nvrtcGetPTX(Program*, char* text) {
  *text = 0;
  return 0;
}

int nvrtcGetProgramLogSize(Program* program, size_t* size) {
  *size = program->log.size() + 1;
  return 0;
}

int nvrtcGetProgramLog(Program* program, char* text) {
  std::memcpy(text, program->log.c_str(), program->log.size() + 1);
  return 0;
}

}  // extern "C"
