//! The geometry of a convolution and the type of its products.

/// In which type the two sides of every product are taken. Sums are in float32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operands {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16, 8 bits of significand, to the nearest and ties to even.
    Bf16,
}

/// The geometry of a convolution: `x` is `[batch, height, width, in_channels]`, `y` is
/// `[batch, out_height(), out_width(), out_channels]`, `w` is `[out_channels, in_channels, kernel, kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
    /// The type of the products.
    pub operands: Operands,
}

impl ConvShape {
    /// Height of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Number of values of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Number of values of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Number of weights.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel * self.kernel
    }

    /// Multiply-adds of one pass (forward, adjoint or weight gradient).
    pub fn multiply_adds(&self) -> usize {
        self.output_len() * self.in_channels * self.kernel * self.kernel
    }

    pub(super) fn check(&self, name: &str, x: usize, w: usize, y: usize) {
        assert!(self.stride > 0 && self.kernel > 0, "{name}: {self:?}");
        assert!(self.height + 2 * self.padding >= self.kernel, "{name}: {self:?}");
        assert!(self.width + 2 * self.padding >= self.kernel, "{name}: {self:?}");
        assert_eq!(x, self.input_len(), "{name}: length of the input for {self:?}");
        assert_eq!(w, self.weight_len(), "{name}: length of the weights for {self:?}");
        assert_eq!(y, self.output_len(), "{name}: length of the output for {self:?}");
    }

    /// Whether there is nothing to multiply.
    pub(super) fn is_empty(&self) -> bool {
        self.multiply_adds() == 0
    }

    /// The input row or column that output position `o` and kernel tap `k` meet, if it is inside.
    pub(super) fn tap(&self, o: usize, k: usize, extent: usize) -> Option<usize> {
        (o * self.stride + k).checked_sub(self.padding).filter(|&i| i < extent)
    }
}
