// oneDNN's convolutions, compiled once for each shape and executed on the calling thread.
#pragma once

#include <array>
#include <cstdint>

namespace jaxlabel {

enum Pass : int64_t { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT };
enum Array { INPUT, WEIGHTS, OUTPUT };

// Everything that a compiled oneDNN primitive depends on.
struct Problem {
  int64_t pass, batch, height, width, channels, kernel_height, kernel_width, features,
      output_height, output_width, stride_height, stride_width, top, bottom, left, right, bfloat16;

  std::array<int64_t, 17> key() const {
    return {pass, batch, height, width, channels, kernel_height, kernel_width, features,
            output_height, output_width, stride_height, stride_width, top, bottom, left, right,
            bfloat16};
  }
  Array result() const {
    return pass == FORWARD ? OUTPUT : pass == INPUT_GRADIENT ? INPUT : WEIGHTS;
  }
  int64_t multiplications() const {
    return batch * output_height * output_width * features * kernel_height * kernel_width * channels;
  }
};

// Computes a convolution or one of its gradients, on the calling thread alone.
//
// Arrays are NHWC and HWIO; the problem's result is written, the other two arrays are read.
void execute(const Problem& problem, void* input, void* weights, void* output);

}  // namespace jaxlabel
