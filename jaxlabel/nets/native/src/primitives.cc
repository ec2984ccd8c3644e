// oneDNN's convolutions: the choice of an implementation, its compilation and its execution.
#include "primitives.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>

#include "oneapi/dnnl/dnnl.hpp"

extern "C" int omp_get_max_threads(void);
extern "C" void omp_set_num_threads(int);

namespace jaxlabel {
namespace {

using dnnl::memory;
using Type = memory::data_type;
using Layout = memory::format_tag;

// One of the three arrays: its layout in XLA, the layout that the primitive wants, and the copy
// between the two where they differ.
struct Operand {
  memory::desc outside, inside;
  bool copied = false;
  dnnl::reorder copy;
  size_t scratch_bytes = 0;
};

struct Compiled {
  dnnl::primitive primitive;
  Operand operands[3];
  memory::desc scratch;
};

const dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// Keeps oneDNN's OpenMP loops on the calling thread: the parts are what runs in parallel.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }

 private:
  int before_;
};

dnnl::primitive_attr scratch_from_caller() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

struct Descs {
  memory::desc input, weights, output;
};

// Chooses oneDNN's implementation for the problem with activations in the given layout.
// Sets the layouts of the three arrays, the scratch memory and the primitive; returns its name.
std::string choose(const Problem& p, Layout layout, Compiled& compiled, Descs& chosen) {
  Type type = p.bfloat16 ? Type::bf16 : Type::f32;
  memory::dims input{p.batch, p.channels, p.height, p.width},
      weights{p.features, p.channels, p.kernel_height, p.kernel_width},
      output{p.batch, p.features, p.output_height, p.output_width},
      stride{p.stride_height, p.stride_width}, before{p.top, p.left}, after{p.bottom, p.right};
  memory::desc x(input, type, layout), y(output, type, layout), w(weights, type, Layout::any),
      weight_gradient(weights, Type::f32, Layout::any);
  auto direct = dnnl::algorithm::convolution_direct;
  auto attributes = scratch_from_caller();
  dnnl::convolution_forward::primitive_desc forward(engine(), dnnl::prop_kind::forward_training,
                                                    direct, x, w, y, stride, before, after,
                                                    attributes);
  auto finish = [&](const auto& description, const auto& primitive) {
    compiled.primitive = primitive;
    compiled.scratch = description.scratchpad_desc();
    return std::string(description.impl_info_str());
  };
  if (p.pass == FORWARD) {
    chosen = {forward.src_desc(), forward.weights_desc(), forward.dst_desc()};
    return finish(forward, dnnl::convolution_forward(forward));
  }
  if (p.pass == INPUT_GRADIENT) {
    dnnl::convolution_backward_data::primitive_desc backward(
        engine(), direct, x, w, y, stride, before, after, forward, attributes);
    chosen = {backward.diff_src_desc(), backward.weights_desc(), backward.diff_dst_desc()};
    return finish(backward, dnnl::convolution_backward_data(backward));
  }
  dnnl::convolution_backward_weights::primitive_desc backward(
      engine(), direct, x, weight_gradient, y, stride, before, after, forward, attributes);
  chosen = {backward.src_desc(), backward.diff_weights_desc(), backward.diff_dst_desc()};
  return finish(backward, dnnl::convolution_backward_weights(backward));
}

std::shared_ptr<Compiled> compile(const Problem& p) {
  auto compiled = std::make_shared<Compiled>();
  Descs chosen;
  std::string name = choose(p, Layout::nhwc, *compiled, chosen);
  // Few channels can leave only the reference loops, which are a hundred times slower. Then oneDNN
  // may take a layout of its own, and the copies are worth it.
  if (name.find("ref") != std::string::npos) name = choose(p, Layout::any, *compiled, chosen);
  static const bool verbose = std::getenv("JAXLABEL_NATIVE_VERBOSE") != nullptr;
  if (verbose)
    std::fprintf(stderr, "convolution pass %d, %dx%dx%dx%d to %d channels: %s\n", (int)p.pass,
                 (int)p.batch, (int)p.height, (int)p.width, (int)p.channels, (int)p.features,
                 name.c_str());
  Type type = p.bfloat16 ? Type::bf16 : Type::f32;
  const memory::desc outside[3] = {
      {{p.batch, p.channels, p.height, p.width}, type, Layout::nhwc},
      {{p.features, p.channels, p.kernel_height, p.kernel_width}, Type::f32, Layout::hwio},
      {{p.batch, p.features, p.output_height, p.output_width}, type, Layout::nhwc}};
  const memory::desc inside[3] = {chosen.input, chosen.weights, chosen.output};
  for (int i = 0; i < 3; ++i) {
    Operand& operand = compiled->operands[i];
    operand.outside = outside[i];
    operand.inside = inside[i];
    operand.copied = outside[i] != inside[i];
    if (!operand.copied) continue;
    bool result = i == p.result();
    dnnl::reorder::primitive_desc copy(engine(), result ? inside[i] : outside[i], engine(),
                                       result ? outside[i] : inside[i], scratch_from_caller());
    operand.copy = dnnl::reorder(copy);
    operand.scratch_bytes = copy.scratchpad_desc().get_size();
  }
  return compiled;
}

// Returns the primitive for a problem; each is compiled once in the life of the process.
std::shared_ptr<Compiled> compiled_for(const Problem& problem) {
  static std::mutex mutex;
  static std::map<std::array<int64_t, 17>, std::shared_ptr<Compiled>> known;
  std::lock_guard<std::mutex> lock(mutex);
  auto& found = known[problem.key()];
  if (!found) found = compile(problem);
  return found;
}

// A thread's own memory for copies and scratch. It grows and is kept until the thread ends.
class Arena {
 public:
  ~Arena() { std::free(data_); }
  char* get(size_t bytes) {
    constexpr size_t PAGE = size_t(1) << 21;  // a huge page
    if (bytes > size_) {
      std::free(data_);
      size_ = (bytes + PAGE - 1) / PAGE * PAGE;
      data_ = static_cast<char*>(std::aligned_alloc(PAGE, size_));
      if (data_ == nullptr) {
        size_ = 0;
        throw std::bad_alloc();
      }
    }
    return data_;
  }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace

void execute(const Problem& problem, void* input, void* weights, void* output) {
  OneThread one_thread;
  auto compiled = compiled_for(problem);
  static thread_local Arena arena;
  static thread_local dnnl::stream stream(engine());
  constexpr size_t LINE = 4096;
  size_t total = 0, scratch_bytes = compiled->scratch.get_size(), at[3] = {0, 0, 0};
  auto reserve = [&](size_t bytes) {
    size_t start = total;
    total += (bytes + LINE - 1) / LINE * LINE;
    return start;
  };
  for (int i = 0; i < 3; ++i) {
    const Operand& operand = compiled->operands[i];
    if (operand.copied) at[i] = reserve(operand.inside.get_size());
    scratch_bytes = std::max(scratch_bytes, operand.scratch_bytes);
  }
  size_t scratch_at = reserve(scratch_bytes);
  char* base = arena.get(total + LINE);
  memory scratch(compiled->scratch, engine(), base + scratch_at);
  void* given[3] = {input, weights, output};
  memory outside[3], inside[3];
  auto copy = [&](const Operand& operand, memory& from, memory& to) {
    memory::desc bytes({int64_t(operand.scratch_bytes)}, Type::u8, Layout::a);
    std::unordered_map<int, memory> arguments{{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    if (operand.scratch_bytes)
      arguments[DNNL_ARG_SCRATCHPAD] = memory(bytes, engine(), base + scratch_at);
    operand.copy.execute(stream, arguments);
  };
  const Array result = problem.result();
  for (int i = 0; i < 3; ++i) {
    const Operand& operand = compiled->operands[i];
    outside[i] = memory(operand.outside, engine(), given[i]);
    inside[i] = operand.copied ? memory(operand.inside, engine(), base + at[i]) : outside[i];
    if (operand.copied && i != result) copy(operand, outside[i], inside[i]);
  }
  static constexpr int NAMES[3][3] = {
      {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
      {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
      {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SCRATCHPAD, scratch}};
  for (int i = 0; i < 3; ++i) arguments[NAMES[problem.pass][i]] = inside[i];
  compiled->primitive.execute(stream, arguments);
  if (compiled->operands[result].copied)
    copy(compiled->operands[result], inside[result], outside[result]);
  stream.wait();
}

}  // namespace jaxlabel

// Returns the instruction sets that oneDNN uses, bits of dnnl_cpu_isa_t: those of the processor,
// less what the environment's ONEDNN_MAX_CPU_ISA forbids.
extern "C" __attribute__((visibility("default"))) int jaxlabel_effective_isa() {
  return static_cast<int>(dnnl::get_effective_cpu_isa());
}
