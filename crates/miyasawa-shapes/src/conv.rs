//! The geometry of a convolution and the type of its products.

/// The type of the two factors of every product. Sums are in float32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operands {
    /// Float32, unchanged.
    #[default]
    F32,
    /// TF32, 11 bits of significand, as NVIDIA's tensor cores round it. Other devices take float32.
    Tf32,
    /// Bfloat16, 8 bits of significand, to the nearest and ties to even.
    Bf16,
}

/// The geometry of a convolution: `x` is `[batch, height, width, in_channels]`, `y` is
/// `[batch, out_height(), out_width(), out_channels]`, `w` is
/// `[out_channels, in_channels, kernel, kernel]`.
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
    /// # Panics
    /// If the product exceeds any number of values in memory: a shape that wraps around would pass
    /// the checks of lengths.
    fn product(&self, factors: [usize; 4]) -> usize {
        let product = factors.into_iter().try_fold(1usize, usize::checked_mul);
        product.unwrap_or_else(|| panic!("a convolution of {self:?}: too large"))
    }

    fn extent(&self, extent: usize) -> usize {
        let around = self.padding.checked_mul(2).and_then(|padding| extent.checked_add(padding));
        let room = around.and_then(|all| all.checked_sub(self.kernel));
        room.unwrap_or_else(|| panic!("a convolution of {self:?}: the kernel does not fit"))
            / self.stride
            + 1
    }

    /// Height of the output.
    ///
    /// # Panics
    /// If the kernel is larger than the padded input, the stride is 0, or the padded input is too
    /// large for a number.
    pub fn out_height(&self) -> usize {
        self.extent(self.height)
    }

    /// Width of the output.
    ///
    /// # Panics
    /// As [`out_height`](Self::out_height).
    pub fn out_width(&self) -> usize {
        self.extent(self.width)
    }

    /// Number of values of the input.
    ///
    /// # Panics
    /// If it is too large for a number.
    pub fn input_len(&self) -> usize {
        self.product([self.batch, self.height, self.width, self.in_channels])
    }

    /// Number of values of the output.
    ///
    /// # Panics
    /// As [`out_height`](Self::out_height), and if it is too large for a number.
    pub fn output_len(&self) -> usize {
        self.product([self.batch, self.out_height(), self.out_width(), self.out_channels])
    }

    /// Number of weights.
    ///
    /// # Panics
    /// If it is too large for a number.
    pub fn weight_len(&self) -> usize {
        self.product([self.out_channels, self.in_channels, self.kernel, self.kernel])
    }

    /// MACs of one pass (forward, adjoint or weight gradient), or the largest number if there are
    /// more.
    ///
    /// # Panics
    /// As [`output_len`](Self::output_len).
    pub fn macs(&self) -> usize {
        let taps = self.in_channels.saturating_mul(self.kernel).saturating_mul(self.kernel);
        self.output_len().saturating_mul(taps)
    }

    /// Checks the lengths of the input, the weights and the output of the operation `name`.
    ///
    /// # Panics
    /// If one differs from what the shape says, or the kernel or the stride is 0.
    pub fn check(&self, name: &str, x: usize, w: usize, y: usize) {
        assert!(self.stride > 0 && self.kernel > 0, "{name}: {self:?}");
        assert_eq!(x, self.input_len(), "{name}: length of the input for {self:?}");
        assert_eq!(w, self.weight_len(), "{name}: length of the weights for {self:?}");
        assert_eq!(y, self.output_len(), "{name}: length of the output for {self:?}");
    }

    /// Whether there is nothing to multiply; an input of padding alone has no values.
    pub fn is_empty(&self) -> bool {
        [self.batch, self.height, self.width, self.in_channels, self.out_channels].contains(&0)
    }

    /// The input row or column that output position `o` and kernel tap `k` meet, if it is inside
    /// the `extent` of the input.
    #[inline]
    pub fn tap(&self, o: usize, k: usize, extent: usize) -> Option<usize> {
        (o * self.stride + k).checked_sub(self.padding).filter(|&i| i < extent)
    }
}
