//! Square-kernel two-dimensional convolution without bias, its adjoint and its weight gradient.
//!
//! Four algorithms compute the passes, and [`Algorithm::choose`] picks one by shape:
//!
//! - [`Algorithm::Winograd`]: a quarter of the products for 3x3 kernels with stride 1, and 81 for
//!   144 with stride 2;
//! - [`Algorithm::Direct`]: rows of patches times packed weights, for any kernel, stride and
//!   padding;
//! - [`Algorithm::Streamed`]: products with the weights in their stored order, for so few pixels
//!   that reading the weights dominates the cost (its weight gradient is the direct one);
//! - [`Algorithm::Plain`]: the definition in plain loops, which tests compare the others with.
//!
//! All return the same bits for every number of threads. With [`Operands::Bf16`] every algorithm
//! gets its operands rounded: the function computed does not depend on the algorithm, so the
//! fastest one can be chosen.

mod direct;
mod plain;
mod round;
mod streamed;
#[cfg(test)]
mod tests;
mod winograd;

use std::mem::MaybeUninit;

use crate::isa::Isa;
use crate::uninit::{self, zeroed};
pub use miyasawa_shapes::{ConvShape, Operands};
use round::rounded;

/// A way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The definition in plain loops.
    Plain,
    /// Patches times packed weights, tiled for registers and caches.
    Direct,
    /// Winograd's bilinear algorithms, for 3x3 kernels with stride 1 and padding up to 2 or stride
    /// 2 and padding 1.
    Winograd,
    /// Products with the weights in their stored order, for few pixels and many weights.
    Streamed,
}

impl Algorithm {
    /// Every algorithm that can compute the shape.
    pub fn available(s: &ConvShape) -> Vec<Self> {
        let all = [Self::Plain, Self::Direct, Self::Winograd, Self::Streamed];
        all.into_iter().filter(|a| *a != Self::Winograd || winograd::supports(s)).collect()
    }

    /// The algorithm that is fastest for the shape, by measurement.
    pub fn choose(s: &ConvShape) -> Self {
        if streamed::is_fastest(s) {
            return Self::Streamed;
        }
        if winograd::supports(s) && winograd::is_faster(s) { Self::Winograd } else { Self::Direct }
    }

    fn check(self, name: &str, s: &ConvShape) {
        assert!(self != Self::Winograd || winograd::supports(s), "{name}: no Winograd for {s:?}");
    }

    /// The type to which operands are converted before the algorithm gets them; Winograd's rounds
    /// where it loads.
    fn copied(self, s: &ConvShape) -> Operands {
        if self == Self::Winograd { Operands::F32 } else { s.operands }
    }
}

/// Computes the convolution `y = conv(x, w) (+ addend)`.
///
/// ```
/// use miyasawa_kernels::conv::{self, ConvShape, Operands};
///
/// // The sum of each 3x3 window of a 3x3 image of ones, zeros around it.
/// let s = ConvShape {
///     batch: 1, height: 3, width: 3, in_channels: 1, out_channels: 1,
///     kernel: 3, stride: 1, padding: 1, operands: Operands::F32,
/// };
/// let y = conv::forward(&s, &[1.0; 9], &[1.0; 9], None);
/// for (y, want) in y.iter().zip([4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0]) {
///     assert!((y - want).abs() < 1e-5);
/// }
/// // <conv(x, w), g> = <x, adjoint(g, w)>
/// let x = conv::adjoint(&s, &y, &[1.0; 9], None);
/// assert!((x.iter().sum::<f32>() - y.iter().map(|y| y * y).sum::<f32>()).abs() < 1e-3);
/// ```
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn forward(s: &ConvShape, x: &[f32], w: &[f32], addend: Option<&[f32]>) -> Vec<f32> {
    forward_with(Isa::current(), Algorithm::choose(s), s, x, w, addend)
}

/// [`forward`] with a given instruction set and algorithm.
///
/// # Panics
/// If a slice does not have the length that the shape says, the processor lacks the instruction set
/// or the algorithm cannot compute the shape.
pub fn forward_with(
    isa: Isa,
    algorithm: Algorithm,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
) -> Vec<f32> {
    s.check("conv::forward", x.len(), w.len(), s.output_len());
    algorithm.check("conv::forward", s);
    filled("conv::forward", s, s.output_len(), addend, |y| {
        let operands = algorithm.copied(s);
        let (x, w) = (&rounded(isa, operands, x)[..], &rounded(isa, operands, w)[..]);
        match algorithm {
            Algorithm::Plain => plain::forward(s, x, w, addend, zeroed(y)),
            Algorithm::Streamed => streamed::forward(isa, s, x, w, addend, y),
            Algorithm::Direct => direct::forward(isa, s, x, w, addend, y),
            Algorithm::Winograd => winograd::forward(isa, s, x, w, addend, y),
        }
    })
}

/// Computes `x = conv^T(g, w) (+ addend)`: the gradient for the input of a convolution with the
/// shape `s`.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn adjoint(s: &ConvShape, g: &[f32], w: &[f32], addend: Option<&[f32]>) -> Vec<f32> {
    adjoint_with(Isa::current(), Algorithm::choose(s), s, g, w, addend)
}

/// [`adjoint`] with a given instruction set and algorithm.
///
/// # Panics
/// As [`forward_with`].
pub fn adjoint_with(
    isa: Isa,
    algorithm: Algorithm,
    s: &ConvShape,
    g: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
) -> Vec<f32> {
    s.check("conv::adjoint", s.input_len(), w.len(), g.len());
    algorithm.check("conv::adjoint", s);
    filled("conv::adjoint", s, s.input_len(), addend, |x| {
        let operands = algorithm.copied(s);
        let (g, w) = (&rounded(isa, operands, g)[..], &rounded(isa, operands, w)[..]);
        match algorithm {
            Algorithm::Plain => plain::adjoint(s, g, w, addend, zeroed(x)),
            Algorithm::Streamed => streamed::adjoint(isa, s, g, w, addend, x),
            Algorithm::Direct => direct::adjoint(isa, s, g, w, addend, x),
            Algorithm::Winograd => winograd::adjoint(isa, s, g, w, addend, x),
        }
    })
}

/// The values that `pass` writes, which must be all; the addend alone if there is nothing to
/// multiply.
fn filled(
    name: &str,
    s: &ConvShape,
    len: usize,
    addend: Option<&[f32]>,
    pass: impl FnOnce(&mut [MaybeUninit<f32>]),
) -> Vec<f32> {
    if let Some(a) = addend {
        assert_eq!(a.len(), len, "{name}: length of the addend for {s:?}");
    }
    // SAFETY: the algorithms write every value.
    let [y] = unsafe {
        uninit::vectors([len], |[y]| if s.is_empty() { fill(addend, y) } else { pass(y) })
    };
    y
}

/// `dw[o, i, ky, kx] = sum over images and pixels of g[., o]*x[., i]` at the tap's offset.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn weight_grad(s: &ConvShape, x: &[f32], g: &[f32]) -> Vec<f32> {
    weight_grad_with(Isa::current(), Algorithm::choose(s), s, x, g)
}

/// [`weight_grad`] with a given instruction set and algorithm.
///
/// # Panics
/// As [`forward_with`].
pub fn weight_grad_with(
    isa: Isa,
    algorithm: Algorithm,
    s: &ConvShape,
    x: &[f32],
    g: &[f32],
) -> Vec<f32> {
    s.check("conv::weight_grad", x.len(), s.weight_len(), g.len());
    algorithm.check("conv::weight_grad", s);
    let mut dw = vec![0.0; s.weight_len()];
    if s.is_empty() {
        return dw;
    }
    let operands = algorithm.copied(s);
    let (x, g) = (&rounded(isa, operands, x)[..], &rounded(isa, operands, g)[..]);
    match algorithm {
        Algorithm::Plain => plain::weight_grad(s, x, g, &mut dw),
        Algorithm::Direct | Algorithm::Streamed => direct::weight_grad(isa, s, x, g, &mut dw),
        Algorithm::Winograd => winograd::weight_grad(isa, s, x, g, &mut dw),
    }
    dw
}

fn fill(addend: Option<&[f32]>, y: &mut [MaybeUninit<f32>]) {
    match addend {
        Some(a) => y.iter_mut().zip(a).for_each(|(y, a)| *y = MaybeUninit::new(*a)),
        None => y.fill(MaybeUninit::new(0.0)),
    }
}
