// Answers lazy/buffer.h's questions about devices.
#include <encore/jit/backend.h>

namespace encore {

bool Cuda::is_available() const { return device_count() > 0; }

int Cuda::device_count() const { return jit::cuda_device_count(); }

DeviceBytes Cuda::memory(int index) const { return jit::backend((*this)(index)).device_bytes(); }

}  // namespace encore
