//! Square-kernel two-dimensional convolution without bias, its adjoint and its weight gradient.
//!
//! Four algorithms compute the passes, and [`Algorithm::choose`] picks one by shape:
//!
//! - [`Algorithm::Winograd`]: a quarter of the products for 3x3 kernels with stride 1, and 81 for 144 with stride 2;
//! - [`Algorithm::Direct`]: rows of patches times packed weights, for any kernel, stride and padding;
//! - [`Algorithm::Streamed`]: products with the weights as they lie, for so few pixels that reading the weights is
//!   what costs (its weight gradient is the direct one);
//! - [`Algorithm::Plain`]: the definition in plain loops, which tests compare the others with.
//!
//! All give the same bits for every number of threads. With [`Operands::Bf16`] every algorithm gets its operands
//! rounded: what is computed does not depend on the algorithm, which is free to be the fastest one.

mod direct;
mod plain;
mod round;
mod shape;
mod streamed;
#[cfg(test)]
mod tests;
mod winograd;

use std::mem::MaybeUninit;

use crate::fresh::{self, as_unwritten, zeroed};
use crate::isa::Isa;
pub(crate) use round::nearest_bf16;
use round::rounded;
pub use shape::{ConvShape, Operands};

/// A way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The definition in plain loops.
    Plain,
    /// Patches times packed weights, tiled for registers and caches.
    Direct,
    /// Winograd's bilinear algorithms, for 3x3 kernels with stride 1 and padding up to 2 or stride 2 and padding 1.
    Winograd,
    /// Products with the weights in their own order, for few pixels and many weights.
    Streamed,
}

impl Algorithm {
    /// Every algorithm that can compute the shape.
    pub fn available(s: &ConvShape) -> Vec<Self> {
        let all = [Self::Plain, Self::Direct, Self::Winograd, Self::Streamed];
        all.into_iter().filter(|a| *a != Self::Winograd || winograd::can(s)).collect()
    }

    /// The algorithm that is fastest for the shape, by measurement.
    pub fn choose(s: &ConvShape) -> Self {
        if streamed::pays(s) {
            return Self::Streamed;
        }
        if winograd::can(s) && winograd::pays(s) { Self::Winograd } else { Self::Direct }
    }

    /// The type that operands are brought to before the algorithm gets them; Winograd's rounds where it loads.
    fn copied(self, s: &ConvShape) -> Operands {
        if self == Self::Winograd { Operands::F32 } else { s.operands }
    }
}

/// `y = conv(x, w) (+ addend)`.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn forward(s: &ConvShape, x: &[f32], w: &[f32], addend: Option<&[f32]>, y: &mut [f32]) {
    let isa = Isa::current();
    forward_with(isa, Algorithm::choose(s), s, x, w, addend, y);
}

/// [`forward`] with a given instruction set and algorithm.
///
/// # Panics
/// If a slice does not have the length that the shape says, the processor lacks the instruction set or the
/// algorithm cannot compute the shape.
pub fn forward_with(
    isa: Isa,
    algorithm: Algorithm,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    y: &mut [f32],
) {
    // SAFETY: the algorithms write values.
    forward_to(isa, algorithm, s, x, w, addend, unsafe { as_unwritten(y) });
}

/// [`forward`] into new memory.
///
/// # Panics
/// As [`forward`].
pub fn forward_new(s: &ConvShape, x: &[f32], w: &[f32], addend: Option<&[f32]>) -> Vec<f32> {
    let (isa, algorithm) = (Isa::current(), Algorithm::choose(s));
    // SAFETY: the algorithms write every value.
    let [y] =
        unsafe { fresh::vectors([s.output_len()], |[y]| forward_to(isa, algorithm, s, x, w, addend, y)) };
    y
}

/// Writes every value of `y`.
fn forward_to(
    isa: Isa,
    algorithm: Algorithm,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    y: &mut [MaybeUninit<f32>],
) {
    s.check("conv::forward", x.len(), w.len(), y.len());
    if let Some(a) = addend {
        assert_eq!(a.len(), y.len(), "conv::forward: length of the addend for {s:?}");
    }
    if s.is_empty() {
        return fill(addend, y);
    }
    let operands = algorithm.copied(s);
    let (x, w) = (&rounded(isa, operands, x)[..], &rounded(isa, operands, w)[..]);
    match algorithm {
        Algorithm::Plain => plain::forward(s, x, w, addend, zeroed(y)),
        Algorithm::Streamed => streamed::forward(isa, s, x, w, addend, y),
        Algorithm::Direct => direct::forward(isa, s, x, w, addend, y),
        Algorithm::Winograd => {
            assert!(winograd::can(s), "conv::forward: no Winograd for {s:?}");
            winograd::forward(isa, s, x, w, addend, y);
        }
    }
}

/// `x = conv^T(g, w) (+ addend)`: the gradient for the input of a convolution with the shape `s`.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn adjoint(s: &ConvShape, g: &[f32], w: &[f32], addend: Option<&[f32]>, x: &mut [f32]) {
    let isa = Isa::current();
    adjoint_with(isa, Algorithm::choose(s), s, g, w, addend, x);
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
    x: &mut [f32],
) {
    // SAFETY: the algorithms write values.
    adjoint_to(isa, algorithm, s, g, w, addend, unsafe { as_unwritten(x) });
}

/// [`adjoint`] into new memory.
///
/// # Panics
/// As [`adjoint`].
pub fn adjoint_new(s: &ConvShape, g: &[f32], w: &[f32], addend: Option<&[f32]>) -> Vec<f32> {
    let (isa, algorithm) = (Isa::current(), Algorithm::choose(s));
    // SAFETY: the algorithms write every value.
    let [x] =
        unsafe { fresh::vectors([s.input_len()], |[x]| adjoint_to(isa, algorithm, s, g, w, addend, x)) };
    x
}

/// Writes every value of `x`.
fn adjoint_to(
    isa: Isa,
    algorithm: Algorithm,
    s: &ConvShape,
    g: &[f32],
    w: &[f32],
    addend: Option<&[f32]>,
    x: &mut [MaybeUninit<f32>],
) {
    s.check("conv::adjoint", x.len(), w.len(), g.len());
    if let Some(a) = addend {
        assert_eq!(a.len(), x.len(), "conv::adjoint: length of the addend for {s:?}");
    }
    if s.is_empty() {
        return fill(addend, x);
    }
    let operands = algorithm.copied(s);
    let (g, w) = (&rounded(isa, operands, g)[..], &rounded(isa, operands, w)[..]);
    match algorithm {
        Algorithm::Plain => plain::adjoint(s, g, w, addend, zeroed(x)),
        Algorithm::Streamed => streamed::adjoint(isa, s, g, w, addend, x),
        Algorithm::Direct => direct::adjoint(isa, s, g, w, addend, x),
        Algorithm::Winograd => {
            assert!(winograd::can(s), "conv::adjoint: no Winograd for {s:?}");
            winograd::adjoint(isa, s, g, w, addend, x);
        }
    }
}

/// `dw[o, i, ky, kx] = sum over images and pixels of g[., o]*x[., i]` at the tap's offset.
///
/// # Panics
/// If a slice does not have the length that the shape says.
pub fn weight_grad(s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let isa = Isa::current();
    weight_grad_with(isa, Algorithm::choose(s), s, x, g, dw);
}

/// [`weight_grad`] with a given instruction set and algorithm.
///
/// # Panics
/// As [`forward_with`].
pub fn weight_grad_with(isa: Isa, algorithm: Algorithm, s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    s.check("conv::weight_grad", x.len(), dw.len(), g.len());
    if s.is_empty() {
        return dw.fill(0.0);
    }
    let operands = algorithm.copied(s);
    let (x, g) = (&rounded(isa, operands, x)[..], &rounded(isa, operands, g)[..]);
    match algorithm {
        Algorithm::Plain => plain::weight_grad(s, x, g, dw),
        Algorithm::Direct | Algorithm::Streamed => direct::weight_grad(isa, s, x, g, dw),
        Algorithm::Winograd => {
            assert!(winograd::can(s), "conv::weight_grad: no Winograd for {s:?}");
            winograd::weight_grad(isa, s, x, g, dw);
        }
    }
}

fn fill(addend: Option<&[f32]>, y: &mut [MaybeUninit<f32>]) {
    match addend {
        Some(a) => y.iter_mut().zip(a).for_each(|(y, a)| *y = MaybeUninit::new(*a)),
        None => y.fill(MaybeUninit::new(0.0)),
    }
}
