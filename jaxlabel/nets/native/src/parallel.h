// Runs the parts of one kernel on XLA's own thread pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace jaxlabel {

namespace ffi = xla::ffi;

// Calls body(0), ..., body(num_parts - 1), each once, and returns when all are done.
//
// The calling thread takes parts like any other, and waits only for parts that another thread has
// already begun. So there is no deadlock when every thread of the pool is inside such a call.
//
// Returns the message of the first exception that a part raised, or an empty string.
inline std::string run_parts(ffi::ThreadPool& pool, int64_t num_parts,
                             std::function<void(int64_t)> body) {
  struct Shared {
    std::function<void(int64_t)> body;
    int64_t num_parts;
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable finished;
    std::string error;

    void take_parts() {
      for (int64_t part; (part = next.fetch_add(1)) < num_parts;) {
        std::string failed;
        try {
          body(part);
        } catch (const std::exception& exception) {
          failed = exception.what();
        }
        std::lock_guard<std::mutex> lock(mutex);
        if (error.empty()) error = failed;
        if (done.fetch_add(1) + 1 == num_parts) finished.notify_all();
      }
    }
  };
  auto shared = std::make_shared<Shared>();
  shared->body = std::move(body);
  shared->num_parts = num_parts;
  // A task that starts late finds no part left and only drops its reference to `shared`.
  int64_t helpers = std::min(num_parts, pool.num_threads()) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([shared] { shared->take_parts(); });
  shared->take_parts();
  // The other threads end within microseconds of this one: sleeping at once would cost more.
  for (int spin = 0; spin < 2000 && shared->done.load() < num_parts; ++spin)
    __builtin_ia32_pause();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->finished.wait(lock, [&] { return shared->done.load() == num_parts; });
  return shared->error;
}

}  // namespace jaxlabel

// Handlers must be visible to the loader, although all else is compiled with -fvisibility=hidden.
#define JAXLABEL_HANDLER(name)                                     \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* \
  name(XLA_FFI_CallFrame*)
