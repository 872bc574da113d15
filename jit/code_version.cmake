# Writes OUTPUT, a source file with code_version(): a hash over the contents of SOURCES, files below ROOT.
set(hashes "")
foreach(source ${SOURCES})
  file(SHA256 ${ROOT}/${source} hash)
  string(APPEND hashes "${source} ${hash}\n")
endforeach()
string(SHA256 version "${hashes}")
string(SUBSTRING ${version} 0 16 version)
file(WRITE ${OUTPUT} "#include <encore/jit/seal.h>

namespace encore::jit {

std::string_view code_version() { return \"${version}\"; }

}  // namespace encore::jit
")
