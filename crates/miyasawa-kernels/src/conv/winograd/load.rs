//! From images to tiles: transforms windows into the blocked matrices.

use crate::conv::Operands;
use crate::scratch::SharedMut;
use crate::simd::{Kernel, Simd};

use super::tiles::{Grid, Images, Planes};
use super::transform::{
    self, Input, InputDown, InputUp, Linear, OutputBack, OutputDownBack, Source, Tiling,
};

/// A square of pixels in the interior of an image.
struct Inside {
    p: *const f32,
    row: usize,
    column: usize,
}

/// `P` squares of pixels, each with its own pointer: to zeros if it is outside of the image.
struct Pointers<const P: usize, const N: usize> {
    p: [[[*const f32; N]; N]; P],
}

/// A square as a source of vectors of some channels, rounded to bfloat16 if `ROUND`.
struct Channels<'a, T, const P: usize, const FULL: bool, const ROUND: bool> {
    square: &'a T,
    offset: usize,
    count: usize,
}

#[inline(always)]
pub(super) unsafe fn load<S: Simd, const FULL: bool>(p: *const f32, count: usize) -> S::V {
    // SAFETY: the caller's promise that `count` values, a full vector if `FULL`, can be read.
    unsafe { if FULL { S::load(p) } else { S::load_part(p, count) } }
}

#[inline(always)]
unsafe fn rounded<S: Simd, const ROUND: bool>(v: S::V) -> S::V {
    // SAFETY: the caller's promise that the processor has the instruction set.
    unsafe { if ROUND { S::round_bf16(v) } else { v } }
}

impl<S: Simd, const FULL: bool, const ROUND: bool> Source<S>
    for Channels<'_, Inside, 1, FULL, ROUND>
{
    #[inline(always)]
    unsafe fn at(&self, r: usize, c: usize) -> S::V {
        let Inside { p, row, column } = *self.square;
        // SAFETY: the square is inside the image.
        unsafe {
            rounded::<S, ROUND>(load::<S, FULL>(
                p.add(r * row + c * column + self.offset),
                self.count,
            ))
        }
    }
}

impl<S: Simd, const P: usize, const N: usize, const FULL: bool, const ROUND: bool> Source<S>
    for Channels<'_, Pointers<P, N>, P, FULL, ROUND>
{
    #[inline(always)]
    unsafe fn at(&self, r: usize, c: usize) -> S::V {
        // SAFETY: each pointer leads to all channels of a pixel or to as many zeros.
        unsafe {
            let first = self.square.p[0][r][c].add(self.offset);
            rounded::<S, ROUND>(if P == 2 {
                S::load_pair(first, self.square.p[P - 1][r][c].add(self.offset), self.count)
            } else {
                load::<S, FULL>(first, self.count)
            })
        }
    }
}

/// Transforms the windows of tiles `tiles.0..tiles.0 + tiles.1` of the images `x` into rows
/// `first_row..` of `planes`, a vector holding `P` tiles, for the channel blocks `blocks`. Tiles
/// after the grid's last count as zeros.
///
/// To run it, `x` must hold the images of the grid, `zeros` a value for each channel, `out` must be
/// as long as `planes` says, and nobody else may use the parts written.
pub(super) struct LoadTiles<'a, const P: usize> {
    pub(super) kind: Tiling,
    pub(super) operands: Operands,
    /// The images are the gradient of the result, their windows tiles without overlap.
    pub(super) gradient: bool,
    pub(super) grid: &'a Grid,
    pub(super) images: &'a Images,
    pub(super) x: &'a [f32],
    pub(super) zeros: &'a [f32],
    pub(super) tiles: (usize, usize),
    pub(super) blocks: (usize, usize),
    pub(super) planes: &'a Planes,
    pub(super) out: SharedMut,
    pub(super) first_row: usize,
}

impl<const P: usize> Kernel for LoadTiles<'_, P> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.operands {
                Operands::F32 | Operands::Tf32 => load_kind::<S, P, false>(&self),
                Operands::Bf16 => load_kind::<S, P, true>(&self),
            }
        }
    }
}

#[inline(always)]
unsafe fn load_kind<S: Simd, const P: usize, const ROUND: bool>(task: &LoadTiles<P>) {
    // SAFETY: the caller's promise.
    unsafe {
        match (task.kind, task.gradient) {
            (Tiling::Unit, false) => load_tiles::<S, Input, P, 6, 6, ROUND>(task),
            (Tiling::Down, false) => load_tiles::<S, InputDown, P, 9, 9, ROUND>(task),
            (Tiling::Up, _) => load_tiles::<S, InputUp, P, 5, 9, ROUND>(task),
            (Tiling::Unit, true) => load_tiles::<S, OutputBack, P, 4, 6, ROUND>(task),
            (Tiling::Down, true) => load_tiles::<S, OutputDownBack, P, 4, 9, ROUND>(task),
        }
    }
}

#[inline(always)]
unsafe fn load_tiles<
    S: Simd,
    T: Linear<N, F>,
    const P: usize,
    const N: usize,
    const F: usize,
    const ROUND: bool,
>(
    task: &LoadTiles<P>,
) {
    let LoadTiles {
        grid,
        images,
        x,
        zeros,
        tiles: (start, count),
        blocks,
        planes,
        out,
        first_row,
        ..
    } = *task;
    let width = S::LANES / P;
    let Images { height, width: columns, channels, padding, step } = *images;
    for row in 0..count.div_ceil(P) {
        let mut pointers = Pointers::<P, N> { p: [[[zeros.as_ptr(); N]; N]; P] };
        let mut inside = Inside { p: x.as_ptr(), row: columns * channels, column: channels };
        let mut is_inside = false;
        for (i, pointers) in pointers.p.iter_mut().enumerate() {
            let tile = start + row * P + i;
            if tile >= grid.tiles {
                continue;
            }
            let (n, ty, tx) = grid.position(tile);
            let (y0, x0) =
                ((ty * step) as isize - padding as isize, (tx * step) as isize - padding as isize);
            // The address of the window's first pixel may be outside of the slice, hence
            // `wrapping`.
            let first = (n * height) as isize + y0;
            let p = x.as_ptr().wrapping_offset((first * columns as isize + x0) * channels as isize);
            let (y1, x1) = (y0 + N as isize, x0 + N as isize);
            is_inside =
                P == 1 && y0 >= 0 && x0 >= 0 && y1 <= height as isize && x1 <= columns as isize;
            if is_inside {
                inside.p = p;
                continue;
            }
            let clip = |v: isize, extent: usize| {
                (-v).clamp(0, N as isize)..(extent as isize - v).min(N as isize)
            };
            for r in clip(y0, height) {
                let p = p.wrapping_offset(r * (columns * channels) as isize);
                for c in clip(x0, columns) {
                    pointers[r as usize][c as usize] = p.wrapping_offset(c * channels as isize);
                }
            }
        }
        for block in blocks.0..blocks.1 {
            let (offset, count) = (block * width, (channels - block * width).min(width));
            // SAFETY: the sources are squares of pixels with these channels; row and block are in
            // `planes`.
            unsafe {
                let out = out.at(block * planes.block + (first_row + row) * S::LANES);
                if P == 2 {
                    let source =
                        Channels::<_, P, false, ROUND> { square: &pointers, offset, count };
                    store_all::<S, T, N, F>(&source, out, planes.stride);
                } else if is_inside && count == width {
                    let source = Channels::<_, 1, true, ROUND> { square: &inside, offset, count };
                    store_all::<S, T, N, F>(&source, out, planes.stride);
                } else if is_inside {
                    let source = Channels::<_, 1, false, ROUND> { square: &inside, offset, count };
                    store_all::<S, T, N, F>(&source, out, planes.stride);
                } else if count == width {
                    let source = Channels::<_, P, true, ROUND> { square: &pointers, offset, count };
                    store_all::<S, T, N, F>(&source, out, planes.stride);
                } else {
                    let source =
                        Channels::<_, P, false, ROUND> { square: &pointers, offset, count };
                    store_all::<S, T, N, F>(&source, out, planes.stride);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn store_all<S: Simd, T: Linear<N, F>, const N: usize, const F: usize>(
    source: &impl Source<S>,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let v = transform::both_dimensions::<S, T, N, F>(source);
        for (i, v) in v.as_flattened().iter().enumerate() {
            S::store(out.add(i * stride), *v);
        }
    }
}
