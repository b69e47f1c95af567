//! From tiles to images: transforms products into results.

use crate::scratch::SharedMut;
use crate::simd::{Kernel, Simd};

use super::load::load;
use super::tiles::{Grid, Images, Planes};
use super::transform::{self, Linear, Output, OutputDown, OutputUp, Source, Tiling};

/// The products of a tile as a source for the output transform.
struct Products<const F: usize> {
    p: *const f32,
    stride: usize,
}

impl<S: Simd, const F: usize> Source<S> for Products<F> {
    #[inline(always)]
    unsafe fn at(&self, r: usize, c: usize) -> S::V {
        // SAFETY: there is a vector for each product.
        unsafe { S::load(self.p.add((r * F + c) * self.stride)) }
    }
}

/// Transforms the products `m` of tiles `tiles.0..tiles.0 + tiles.1` and writes (or adds to
/// `addend`) the channels of blocks `first_block..`, one for each block of `planes`.
///
/// To run it, `m` must be as long as `planes` says, `y` and `addend` must hold the images of the
/// grid, and nobody else may use these tiles and channels of `y`.
pub(super) struct StoreTiles<'a, const P: usize> {
    pub(super) kind: Tiling,
    pub(super) grid: &'a Grid,
    pub(super) images: &'a Images,
    pub(super) m: &'a [f32],
    pub(super) planes: &'a Planes,
    pub(super) tiles: (usize, usize),
    pub(super) first_block: usize,
    pub(super) addend: Option<&'a [f32]>,
    pub(super) y: SharedMut,
}

impl<const P: usize> Kernel for StoreTiles<'_, P> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.kind {
                Tiling::Unit => store_tiles::<S, Output, P, 6, 4>(&self),
                Tiling::Down => store_tiles::<S, OutputDown, P, 9, 4>(&self),
                Tiling::Up => store_tiles::<S, OutputUp, P, 9, 8>(&self),
            }
        }
    }
}

#[inline(always)]
unsafe fn store_tiles<S: Simd, T: Linear<F, O>, const P: usize, const F: usize, const O: usize>(
    task: &StoreTiles<P>,
) {
    let StoreTiles {
        grid, images, m, planes, tiles: (start, count), first_block, addend, y, ..
    } = *task;
    let width = S::LANES / P;
    let Images { height, width: columns, channels, step, .. } = *images;
    for row in 0..count.div_ceil(P) {
        let mut to = Destination::<P> {
            first: [0; P],
            rows: [0; P],
            columns: [0; P],
            row: columns * channels,
        };
        for i in (0..P).take_while(|i| i + row * P < count) {
            let (image, ty, tx) = grid.position(start + row * P + i);
            to.first[i] = ((image * height + ty * step) * columns + tx * step) * channels;
            (to.rows[i], to.columns[i]) =
                ((height - ty * step).min(O), (columns - tx * step).min(O));
        }
        let inside = to.rows == [O; P] && to.columns == [O; P];
        for block in 0..planes.blocks {
            let channel = (first_block + block) * width;
            let n = (channels - channel).min(width);
            // SAFETY: the row is in `planes`; only pixels inside the images are written.
            unsafe {
                let p = m.as_ptr().add(block * planes.block + row * S::LANES);
                let out = transform::both_dimensions::<S, T, F, O>(&Products::<F> {
                    p,
                    stride: planes.stride,
                });
                if inside && n == width {
                    write::<S, P, O, true>(&out, &to, (channel, n), channels, addend, y);
                } else {
                    write::<S, P, O, false>(&out, &to, (channel, n), channels, addend, y);
                }
            }
        }
    }
}

/// The destination of a vector of tiles.
struct Destination<const P: usize> {
    /// Index of the first pixel of each tile.
    first: [usize; P],
    /// Rows and columns of it inside of the image.
    rows: [usize; P],
    columns: [usize; P],
    /// Values between rows of the image.
    row: usize,
}

/// Writes `n` channels of tiles, which are all inside of the images if `INSIDE`.
///
/// # Safety
/// `y` and the addend have the pixels of `to` that are inside of the images.
#[inline(always)]
unsafe fn write<S: Simd, const P: usize, const O: usize, const INSIDE: bool>(
    out: &[[S::V; O]; O],
    to: &Destination<P>,
    (channel, n): (usize, usize),
    channels: usize,
    addend: Option<&[f32]>,
    y: SharedMut,
) {
    for (r, out) in out.iter().enumerate() {
        for (c, v) in out.iter().enumerate() {
            let mut v = *v;
            let inside = |i: usize| INSIDE || (r < to.rows[i] && c < to.columns[i]);
            let at = |i: usize| to.first[i] + r * to.row + c * channels + channel;
            // SAFETY: only pixels inside are read and written.
            unsafe {
                if P == 2 {
                    let last = P - 1;
                    if let Some(addend) = addend {
                        // The addend of a pixel outside is dropped below, so that any address will
                        // do for it.
                        let p =
                            |i: usize| addend.as_ptr().add(if inside(i) { at(i) } else { channel });
                        v = S::add(v, S::load_pair(p(0), p(last), n));
                    }
                    let p = |i: usize| if inside(i) { y.at(at(i)) } else { std::ptr::null_mut() };
                    S::store_pair(p(0), p(last), v, n);
                } else if inside(0) {
                    if let Some(addend) = addend {
                        v = S::add(v, load::<S, INSIDE>(addend.as_ptr().add(at(0)), n));
                    }
                    if INSIDE { S::store(y.at(at(0)), v) } else { S::store_part(y.at(at(0)), v, n) }
                }
            }
        }
    }
}
