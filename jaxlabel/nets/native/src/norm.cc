// GroupNorm followed by a leaky ReLU, and its gradient, as XLA FFI handlers for the CPU.
//
// Arrays are NHWC, float32 or bfloat16; moments, scale and bias are float32. Each image is
// computed by one thread, so the results have the same bits whatever the number of threads.

#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "parallel.h"

namespace jaxlabel {
namespace {

struct Shape {
  int64_t positions, channels, groups;
  float slope;  // of the activation where its input is negative
};

inline float load(const float* array, int64_t i) { return array[i]; }
inline void store(float* array, int64_t i, float value) { array[i] = value; }

inline float load(const uint16_t* array, int64_t i) {
  uint32_t bits = uint32_t(array[i]) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline void store(uint16_t* array, int64_t i, float value) {  // rounds to the nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  array[i] = value == value ? rounded : 0x7fc0;  // a NaN stays one
}

// The normalised value is factor[c] * x + shift[c], for each channel c.
void line_of_each_channel(const Shape& s, const float* scale, const float* bias,
                          const float* moments, float* factor, float* shift) {
  for (int64_t c = 0; c < s.channels; ++c) {
    int64_t group = c / (s.channels / s.groups);
    factor[c] = scale[c] * moments[s.groups + group];
    shift[c] = bias[c] - moments[group] * factor[c];
  }
}

// The loops below go over a block of W neighbouring channels at all positions. W is known to the
// compiler, which keeps what belongs to the channels in vector registers.

template <int W, class T>
void sums(int64_t positions, int64_t stride, const T* x, float* total, float* squares) {
  float first[W] = {}, second[W] = {};
  for (int64_t p = 0; p < positions; ++p)
    for (int i = 0; i < W; ++i) {
      float value = load(x, p * stride + i);
      first[i] += value;
      second[i] += value * value;
    }
  std::memcpy(total, first, sizeof first);
  std::memcpy(squares, second, sizeof second);
}

template <int W, class T>
void apply(int64_t positions, int64_t stride, const T* x, const float* factors,
           const float* shifts, float slope, T* y) {
  float factor[W], shift[W];
  std::memcpy(factor, factors, sizeof factor);
  std::memcpy(shift, shifts, sizeof shift);
  for (int64_t p = 0; p < positions; ++p) {
    float result[W];
    for (int i = 0; i < W; ++i) {
      float value = factor[i] * load(x, p * stride + i) + shift[i];
      result[i] = value >= 0 ? value : slope * value;
    }
    for (int i = 0; i < W; ++i) store(y, p * stride + i, result[i]);
  }
}

// The sums of the gradient d of the normalised value, and of d x.
template <int W, class T>
void gradient_sums(int64_t positions, int64_t stride, const T* x, const T* gradient,
                   const float* factors, const float* shifts, float slope, float* sum,
                   float* product) {
  float factor[W], shift[W], first[W] = {}, second[W] = {};
  std::memcpy(factor, factors, sizeof factor);
  std::memcpy(shift, shifts, sizeof shift);
  for (int64_t p = 0; p < positions; ++p)
    for (int i = 0; i < W; ++i) {
      float value = load(x, p * stride + i), d = load(gradient, p * stride + i);
      d *= factor[i] * value + shift[i] >= 0 ? 1.0f : slope;
      first[i] += d;
      second[i] += d * value;
    }
  std::memcpy(sum, first, sizeof first);
  std::memcpy(product, second, sizeof second);
}

// dx = factor d + slope_of_x x + constant.
template <int W, class T>
void gradient_of_x(int64_t positions, int64_t stride, const T* x, const T* gradient,
                   const float* factors, const float* shifts, const float* slopes_of_x,
                   const float* constants, float slope, T* dx) {
  float factor[W], shift[W], slope_of_x[W], constant[W];
  std::memcpy(factor, factors, sizeof factor);
  std::memcpy(shift, shifts, sizeof shift);
  std::memcpy(slope_of_x, slopes_of_x, sizeof slope_of_x);
  std::memcpy(constant, constants, sizeof constant);
  for (int64_t p = 0; p < positions; ++p) {
    float result[W];
    for (int i = 0; i < W; ++i) {
      float value = load(x, p * stride + i), d = load(gradient, p * stride + i);
      d *= factor[i] * value + shift[i] >= 0 ? 1.0f : slope;
      result[i] = factor[i] * d + slope_of_x[i] * value + constant[i];
    }
    for (int i = 0; i < W; ++i) store(dx, p * stride + i, result[i]);
  }
}

// Calls body(first channel, width as a constant) for blocks of 16 channels, then one by one.
template <class Body>
void for_blocks(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + 16 <= channels; c += 16) body(c, std::integral_constant<int, 16>());
  for (; c < channels; ++c) body(c, std::integral_constant<int, 1>());
}

// Normalises one image. `moments` receives each group's mean, then each group's 1 / deviation.
template <class T>
void forward_image(const Shape& s, float epsilon, const T* x, const float* scale,
                   const float* bias, T* y, float* moments, float* scratch) {
  const int64_t C = s.channels, P = s.positions, per_group = C / s.groups;
  float *total = scratch, *squares = scratch + C;
  for_blocks(C, [&](int64_t c, auto width) {
    sums<width()>(P, C, x + c, total + c, squares + c);
  });
  const float count = float(P * per_group);
  for (int64_t g = 0; g < s.groups; ++g) {
    float sum = 0, square = 0;
    for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
      sum += total[c];
      square += squares[c];
    }
    float mean = sum / count, variance = std::fmax(square / count - mean * mean, 0.0f);
    moments[g] = mean;
    moments[s.groups + g] = 1.0f / std::sqrt(variance + epsilon);
  }
  float *factor = scratch, *shift = scratch + C;
  line_of_each_channel(s, scale, bias, moments, factor, shift);
  for_blocks(C, [&](int64_t c, auto width) {
    apply<width()>(P, C, x + c, factor + c, shift + c, s.slope, y + c);
  });
}

// The gradient for one image: of its pixels, and its share of the gradients of scale and bias.
//
// With h = (x - mean) / deviation and d the gradient of the normalised value, in each group
//   dx = scale d / deviation - (mean(scale d) + h mean(scale d h)) / deviation,
// which is factor d + slope_of_x x + constant, for each channel.
template <class T>
void backward_image(const Shape& s, const T* x, const T* gradient, const float* scale,
                    const float* bias, const float* moments, T* dx, float* dscale, float* dbias,
                    float* scratch) {
  const int64_t C = s.channels, P = s.positions, per_group = C / s.groups;
  float *factor = scratch, *shift = scratch + C, *sum = scratch + 2 * C,
        *product = scratch + 3 * C, *slope_of_x = scratch + 4 * C, *constant = scratch + 5 * C;
  line_of_each_channel(s, scale, bias, moments, factor, shift);
  for_blocks(C, [&](int64_t c, auto width) {
    gradient_sums<width()>(P, C, x + c, gradient + c, factor + c, shift + c, s.slope, sum + c,
                           product + c);
  });
  const float count = float(P * per_group);
  for (int64_t g = 0; g < s.groups; ++g) {
    const float mean = moments[g], inverse = moments[s.groups + g];
    float first = 0, second = 0;
    for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
      dbias[c] = sum[c];
      dscale[c] = (product[c] - mean * sum[c]) * inverse;
      first += scale[c] * dbias[c];
      second += scale[c] * dscale[c];
    }
    first /= count;
    second /= count;
    for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
      slope_of_x[c] = -inverse * inverse * second;
      constant[c] = -inverse * first - slope_of_x[c] * mean;
    }
  }
  for_blocks(C, [&](int64_t c, auto width) {
    gradient_of_x<width()>(P, C, x + c, gradient + c, factor + c, shift + c, slope_of_x + c,
                           constant + c, s.slope, dx + c);
  });
}

// Calls body(image, scratch) for every image, several images to a part.
template <class Body>
ffi::Error for_images(ffi::ThreadPool pool, int64_t num_images, const Shape& s, Body body) {
  constexpr int64_t NUMBERS = 1 << 17;
  int64_t per_part = std::max<int64_t>(1, NUMBERS / std::max<int64_t>(1, s.positions * s.channels));
  int64_t parts = (num_images + per_part - 1) / per_part;
  if (parts == 0) return ffi::Error::Success();
  std::string error = run_parts(pool, parts, [&](int64_t part) {
    static thread_local std::vector<float> scratch;
    scratch.resize(6 * s.channels);
    int64_t end = std::min(num_images, (part + 1) * per_part);
    for (int64_t image = part * per_part; image < end; ++image) body(image, scratch.data());
  });
  return error.empty() ? ffi::Error::Success() : ffi::Error::Internal("GroupNorm: " + error);
}

template <class T>
ffi::Error forward_as(ffi::ThreadPool pool, const Shape& s, int64_t n, float epsilon,
                      const void* x, const float* scale, const float* bias, void* y,
                      float* moments) {
  const int64_t size = s.positions * s.channels;
  return for_images(pool, n, s, [=](int64_t i, float* scratch) {
    forward_image(s, epsilon, static_cast<const T*>(x) + i * size, scale, bias,
                  static_cast<T*>(y) + i * size, moments + i * 2 * s.groups, scratch);
  });
}

template <class T>
ffi::Error backward_as(ffi::ThreadPool pool, const Shape& s, int64_t n, const void* x,
                       const void* gradient, const float* scale, const float* bias,
                       const float* moments, void* dx, float* dscale, float* dbias) {
  const int64_t size = s.positions * s.channels;
  return for_images(pool, n, s, [=](int64_t i, float* scratch) {
    backward_image(s, static_cast<const T*>(x) + i * size,
                   static_cast<const T*>(gradient) + i * size, scale, bias,
                   moments + i * 2 * s.groups, static_cast<T*>(dx) + i * size,
                   dscale + i * s.channels, dbias + i * s.channels, scratch);
  });
}

using Floats = ffi::Buffer<ffi::F32>;
using FloatsOut = ffi::ResultBuffer<ffi::F32>;

ffi::Error forward(ffi::ThreadPool pool, ffi::AnyBuffer x, Floats scale, Floats bias,
                   ffi::Result<ffi::AnyBuffer> y, FloatsOut moments, int64_t groups, float slope,
                   float epsilon) {
  auto d = x.dimensions();
  Shape shape{d[1] * d[2], d[3], groups, slope};
  auto run = x.element_type() == ffi::DataType::BF16 ? forward_as<uint16_t> : forward_as<float>;
  return run(pool, shape, d[0], epsilon, x.untyped_data(), scale.typed_data(), bias.typed_data(),
             y->untyped_data(), moments->typed_data());
}

ffi::Error backward(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer gradient, Floats scale,
                    Floats bias, Floats moments, ffi::Result<ffi::AnyBuffer> dx, FloatsOut dscale,
                    FloatsOut dbias, int64_t groups, float slope) {
  auto d = x.dimensions();
  Shape shape{d[1] * d[2], d[3], groups, slope};
  auto run = x.element_type() == ffi::DataType::BF16 ? backward_as<uint16_t> : backward_as<float>;
  return run(pool, shape, d[0], x.untyped_data(), gradient.untyped_data(), scale.typed_data(),
             bias.typed_data(), moments.typed_data(), dx->untyped_data(), dscale->typed_data(),
             dbias->typed_data());
}

}  // namespace
}  // namespace jaxlabel

JAXLABEL_HANDLER(jaxlabel_norm);
JAXLABEL_HANDLER(jaxlabel_norm_gradient);
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxlabel_norm, jaxlabel::forward,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<jaxlabel::Floats>()
                                  .Arg<jaxlabel::Floats>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<jaxlabel::Floats>()
                                  .Attr<int64_t>("groups")
                                  .Attr<float>("slope")
                                  .Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxlabel_norm_gradient, jaxlabel::backward,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<jaxlabel::Floats>()
                                  .Arg<jaxlabel::Floats>()
                                  .Arg<jaxlabel::Floats>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<jaxlabel::Floats>()
                                  .Ret<jaxlabel::Floats>()
                                  .Attr<int64_t>("groups")
                                  .Attr<float>("slope"));
