// Convolutions of NHWC activations by HWIO weights through oneDNN, as XLA FFI handlers for the CPU.
//
// Three handlers: the convolution, its gradient with respect to the input, and its gradient with
// respect to the weights. Activations are float32 or bfloat16, weights are always float32.
//
// The batch is cut into parts whose number depends on the shapes alone, never on the number of
// threads. So the results have the same bits whatever the number of threads.

#include <memory>

#include "parallel.h"
#include "primitives.h"

namespace jaxlabel {
namespace {

// Images in one part: enough work to be worth a thread, the same for any number of threads.
int64_t images_per_part(const Problem& problem) {
  constexpr int64_t MULTIPLICATIONS = 40'000'000, MAX_PARTS = 64;
  int64_t parts = problem.multiplications() / MULTIPLICATIONS;
  parts = std::max<int64_t>(1, std::min({parts, MAX_PARTS, problem.batch}));
  return (problem.batch + parts - 1) / parts;
}

ffi::Error run(Pass pass, ffi::ThreadPool pool, ffi::AnyBuffer input, ffi::AnyBuffer weights,
               ffi::AnyBuffer output, ffi::Span<const int64_t> window) {
  auto x = input.dimensions(), w = weights.dimensions(), y = output.dimensions();
  if (x.size() != 4 || w.size() != 4 || y.size() != 4 || window.size() != 6)
    return ffi::Error::InvalidArgument("convolution: three arrays of four axes and a window of six");
  bool bfloat16 = input.element_type() == ffi::DataType::BF16;
  if (output.element_type() != input.element_type() || weights.element_type() != ffi::DataType::F32)
    return ffi::Error::InvalidArgument("convolution: activations of one type, float32 weights");
  Problem whole{pass, x[0], x[1], x[2], x[3], w[0], w[1], w[3], y[1], y[2], window[0], window[1],
                window[2], window[3], window[4], window[5], bfloat16};
  char *px = static_cast<char*>(input.untyped_data()), *py = static_cast<char*>(output.untyped_data());
  float* pw = static_cast<float*>(weights.untyped_data());
  const int64_t num_weights = w[0] * w[1] * w[2] * w[3];
  if (whole.batch == 0) {
    if (pass == WEIGHT_GRADIENT) std::fill_n(pw, num_weights, 0.0f);
    return ffi::Error::Success();
  }
  const int64_t images = images_per_part(whole), parts = (whole.batch + images - 1) / images;
  const int64_t bytes = bfloat16 ? 2 : 4, input_bytes = bytes * x[1] * x[2] * x[3],
                output_bytes = bytes * y[1] * y[2] * y[3];
  // Every part but the first has its own sums of the weights' gradient; they are added in order.
  std::unique_ptr<float[]> sums;
  if (pass == WEIGHT_GRADIENT && parts > 1) sums.reset(new float[num_weights * (parts - 1)]);
  std::string error = run_parts(pool, parts, [&](int64_t part) {
    int64_t first = part * images;
    Problem own = whole;
    own.batch = std::min(images, whole.batch - first);
    float* own_weights = sums && part ? sums.get() + num_weights * (part - 1) : pw;
    execute(own, px + first * input_bytes, own_weights, py + first * output_bytes);
  });
  if (!error.empty()) return ffi::Error::Internal("oneDNN: " + error);
  for (int64_t part = 1; sums && part < parts; ++part) {
    const float* own = sums.get() + num_weights * (part - 1);
    for (int64_t i = 0; i < num_weights; ++i) pw[i] += own[i];
  }
  return ffi::Error::Success();
}

ffi::Error forward(ffi::ThreadPool pool, ffi::AnyBuffer input, ffi::AnyBuffer weights,
                   ffi::Result<ffi::AnyBuffer> output, ffi::Span<const int64_t> window) {
  return run(FORWARD, pool, input, weights, *output, window);
}

ffi::Error input_gradient(ffi::ThreadPool pool, ffi::AnyBuffer gradient, ffi::AnyBuffer weights,
                          ffi::Result<ffi::AnyBuffer> input, ffi::Span<const int64_t> window) {
  return run(INPUT_GRADIENT, pool, *input, weights, gradient, window);
}

ffi::Error weight_gradient(ffi::ThreadPool pool, ffi::AnyBuffer input, ffi::AnyBuffer gradient,
                           ffi::Result<ffi::AnyBuffer> weights, ffi::Span<const int64_t> window) {
  return run(WEIGHT_GRADIENT, pool, input, *weights, gradient, window);
}

auto binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>()
      .Attr<ffi::Span<const int64_t>>("window");
}

}  // namespace
}  // namespace jaxlabel

JAXLABEL_HANDLER(jaxlabel_convolution);
JAXLABEL_HANDLER(jaxlabel_convolution_input_gradient);
JAXLABEL_HANDLER(jaxlabel_convolution_weight_gradient);
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxlabel_convolution, jaxlabel::forward, jaxlabel::binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxlabel_convolution_input_gradient, jaxlabel::input_gradient,
                              jaxlabel::binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxlabel_convolution_weight_gradient, jaxlabel::weight_gradient,
                              jaxlabel::binding());
