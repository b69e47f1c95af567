//! The weight gradient in the transformed domain.
//!
//! The sums over tiles are a matrix product for each frequency. If they fit the second-level cache, tasks sum over
//! ranges of tiles ([`Range`]) and the sums of the ranges are added in order at the end; the ranges depend on the
//! shape alone. Otherwise all tiles are transformed first, and a task takes a frequency ([`Frequency`]).

use crate::gemm::{self, Fill};
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};
use crate::tasks;

use super::super::ConvShape;
use super::super::direct::part;
use super::tiles::{self, Grid, Images, Planes};
use super::transform::{FREQUENCIES, Input, OutputBack, TILE, WINDOW};
use super::{tiles_per_vector, weights};

/// Sums that a task keeps in its cache.
const RANGE_SUMS: usize = 256 * 1024;
/// Values of the transformed tiles of one task.
const RANGE_TILES: usize = 192 * 1024;
/// Most ranges.
const RANGES: usize = 8;
/// Values of the tiles that are transformed at once for all frequencies.
const SHARED_TILES: usize = 2 * 1024 * 1024;

/// What every task needs to know.
#[derive(Clone, Copy)]
struct Pass<'a> {
    s: &'a ConvShape,
    grid: Grid,
    per_vector: usize,
    x: &'a [f32],
    g: &'a [f32],
    zeros: &'a [f32],
}

impl Pass<'_> {
    fn images(&self) -> (Images, Images) {
        let s = self.s;
        let x = Images { height: s.height, width: s.width, channels: s.in_channels, padding: s.padding };
        let (height, width) = (s.out_height(), s.out_width());
        (x, Images { height, width, channels: s.out_channels, padding: 0 })
    }
}

pub(in super::super) fn weight_grad(isa: Isa, s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let lanes = isa.lanes();
    let per_vector = tiles_per_vector(isa, s.in_channels, s.out_channels);
    let width = lanes / per_vector;
    let (blocks, out_blocks) = (s.in_channels.div_ceil(width), s.out_channels.div_ceil(width));
    let mut zeros = Scratch::new(s.in_channels.max(s.out_channels));
    zeros.fill(0.0);
    let grid = Grid::new(s.batch, s.out_height(), s.out_width());
    let rows = grid.tiles.div_ceil(per_vector);
    let pass = Pass { s, grid, per_vector, x, g, zeros: &zeros };

    let size = FREQUENCIES * s.in_channels * out_blocks * lanes;
    let row_size = FREQUENCIES * (blocks + out_blocks) * lanes;
    let ranges = if size <= RANGE_SUMS { rows.div_ceil(32).min(RANGES) } else { 1 };
    let mut sums = Scratch::new(size * ranges);
    let shared = SharedMut::new(&mut sums);
    if size <= RANGE_SUMS {
        let step = (RANGE_TILES / row_size / 8 * 8).clamp(8, 64);
        tasks::run(ranges, |i| {
            // SAFETY: `i < ranges`.
            let out = unsafe { shared.offset(i * size) };
            isa.run(Range { pass, rows: part(rows, ranges, i), step, out });
        });
    } else {
        let step = (SHARED_TILES / row_size).max(32).min(rows);
        let mut v = Scratch::new(Planes::new(blocks, step, lanes).len());
        let mut z = Scratch::new(Planes::new(out_blocks, step, lanes).len());
        for start in (0..rows).step_by(step) {
            let count = step.min(rows - start);
            let planes = (Planes::new(blocks, count, lanes), Planes::new(out_blocks, count, lanes));
            let out = (SharedMut::new(&mut v), SharedMut::new(&mut z));
            let (row_parts, block_parts) = (count.div_ceil(8), (blocks + out_blocks).div_ceil(4));
            tasks::run(row_parts * block_parts, |i| {
                let row = i / block_parts * 8;
                let first = i % block_parts * 4;
                let range = (first, (first + 4).min(blocks + out_blocks));
                isa.run(Load { pass, planes, start: start + row, rows: 8.min(count - row), range, out, row });
            });
            let (v, z) = (&v[..], &z[..]);
            tasks::run(FREQUENCIES, |f| {
                isa.run(Frequency { pass, planes, v, z, f, accumulate: start > 0, out: shared });
            });
        }
    }
    let dw = SharedMut::new(dw);
    let steps = s.in_channels.div_ceil(lanes);
    tasks::run_if(size * ranges > 64 * 1024, out_blocks * steps, |i| {
        let start = i % steps * lanes;
        let depths = (start, s.in_channels.min(start + lanes));
        isa.run(Finish { pass, sums: shared, parts: (ranges, size), block: i / steps, depths, dw });
    });
}

/// Runs `go` for the number of tiles in a vector.
macro_rules! go {
    ($self:ident, $S:ident) => {
        // SAFETY: the caller's promise.
        unsafe {
            if $S::PAIRS && $self.pass.per_vector == 2 { $self.go::<$S, 2>() } else { $self.go::<$S, 1>() }
        }
    };
}

/// Sums over a range of rows, `step` at a time.
struct Range<'a> {
    pass: Pass<'a>,
    rows: (usize, usize),
    step: usize,
    /// `[panel][frequency][in][panel's lanes]`
    out: SharedMut,
}

impl Range<'_> {
    #[inline(always)]
    unsafe fn go<S: Simd, const P: usize>(self) {
        let Pass { s, grid, x, g, zeros, .. } = self.pass;
        let (lanes, width) = (S::LANES, S::LANES / P);
        let (images_x, images_g) = self.pass.images();
        let fill = Fill::dense(s.in_channels, width);
        let out_blocks = s.out_channels.div_ceil(width);
        let step = self.step.min(self.rows.1 - self.rows.0);
        let mut v = Scratch::new(Planes::new(fill.blocks, step, lanes).len());
        let mut z = Scratch::new(Planes::new(out_blocks, step, lanes).len());
        for start in (self.rows.0..self.rows.1).step_by(step) {
            let rows = step.min(self.rows.1 - start);
            let (pv, pz) = (Planes::new(fill.blocks, rows, lanes), Planes::new(out_blocks, rows, lanes));
            let tiles = (start * P, (rows * P).min(grid.tiles - start * P));
            // SAFETY: the buffers are as long as their planes; the sums are only this task's.
            unsafe {
                let (to_v, to_z) = (SharedMut::new(&mut v), SharedMut::new(&mut z));
                tiles::load_tiles::<S, Input, P, WINDOW>(
                    &grid,
                    &images_x,
                    x,
                    zeros,
                    tiles,
                    (0, fill.blocks),
                    &pv,
                    to_v,
                    0,
                );
                tiles::load_tiles::<S, OutputBack, P, TILE>(
                    &grid,
                    &images_g,
                    g,
                    zeros,
                    tiles,
                    (0, out_blocks),
                    &pz,
                    to_z,
                    0,
                );
                for f in 0..FREQUENCIES {
                    let accumulate = start > self.rows.0;
                    multiply::<S, P>(s, (&v, &z), (&pv, &pz), rows, f, accumulate, self.out);
                }
            }
        }
    }
}

impl Kernel for Range<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        go!(self, S);
    }
}

/// All sums of one frequency.
///
/// # Safety
/// The buffers are as long as their planes, `out` has all sums, and those of the frequency are only the caller's.
#[inline(always)]
unsafe fn multiply<S: Simd, const P: usize>(
    s: &ConvShape,
    (v, z): (&[f32], &[f32]),
    (pv, pz): (&Planes, &Planes),
    rows: usize,
    f: usize,
    accumulate: bool,
    out: SharedMut,
) {
    let (lanes, fill) = (S::LANES, Fill::dense(s.in_channels, S::LANES / P));
    for panel in 0..pz.blocks.div_ceil(2) {
        let width = (pz.blocks - 2 * panel).min(2);
        // SAFETY: frequency and panel are inside the buffers.
        unsafe {
            let a = (v.as_ptr().add(f * pv.stride), pv.block);
            let b = (z.as_ptr().add(f * pz.stride + 2 * panel * pz.block), pz.block);
            let c = out.at((panel * FREQUENCIES * 2 + f * width) * s.in_channels * lanes);
            gemm::tn::<S, P>(rows, fill, a, b, width, c, accumulate);
        }
    }
}

/// Transforms some tiles for all frequencies; the blocks of `g` are numbered after those of `x`.
struct Load<'a> {
    pass: Pass<'a>,
    planes: (Planes, Planes),
    start: usize,
    rows: usize,
    range: (usize, usize),
    out: (SharedMut, SharedMut),
    row: usize,
}

impl Kernel for Load<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pass { grid, x, g, zeros, .. } = self.pass;
        let (images_x, images_g) = self.pass.images();
        let (pv, pz) = &self.planes;
        let tiles = (self.start, self.rows);
        let (first, last) = self.range;
        let (x_blocks, g_blocks) = (
            (first.min(pv.blocks), last.min(pv.blocks)),
            (first.max(pv.blocks) - pv.blocks, last.max(pv.blocks) - pv.blocks),
        );
        // SAFETY: the buffers are as long as their planes; these rows and blocks are only this task's.
        unsafe {
            tiles::load_tiles::<S, Input, 1, WINDOW>(
                &grid, &images_x, x, zeros, tiles, x_blocks, pv, self.out.0, self.row,
            );
            tiles::load_tiles::<S, OutputBack, 1, TILE>(
                &grid, &images_g, g, zeros, tiles, g_blocks, pz, self.out.1, self.row,
            );
        }
    }
}

/// Sums one frequency over the transformed tiles.
struct Frequency<'a> {
    pass: Pass<'a>,
    planes: (Planes, Planes),
    v: &'a [f32],
    z: &'a [f32],
    f: usize,
    accumulate: bool,
    out: SharedMut,
}

impl Kernel for Frequency<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (pv, pz) = &self.planes;
        // SAFETY: the buffers are as long as their planes; the frequency is only this task's.
        unsafe {
            let buffers = (self.v, self.z);
            multiply::<S, 1>(self.pass.s, buffers, (pv, pz), pv.rows, self.f, self.accumulate, self.out);
        }
    }
}

/// Turns the sums of a block of outputs and a few inputs into weights.
struct Finish<'a> {
    pass: Pass<'a>,
    sums: SharedMut,
    /// Number of ranges and distance between their sums.
    parts: (usize, usize),
    block: usize,
    depths: (usize, usize),
    dw: SharedMut,
}

impl Finish<'_> {
    #[inline(always)]
    unsafe fn go<S: Simd, const P: usize>(self) {
        let (s, lanes) = (self.pass.s, S::LANES);
        let (panel, out_blocks) = (self.block / 2, s.out_channels.div_ceil(lanes / P));
        let width = (out_blocks - 2 * panel).min(2);
        let (start, count) = (self.depths.0, self.depths.1 - self.depths.0);
        let row = width * lanes;
        let mut taps = Scratch::new(9 * lanes * lanes);
        let mut square = [0.0f32; 16 * 16];
        // SAFETY: the sums have all panels and depths; these outputs and inputs of `dw` are only this task's.
        unsafe {
            let offset = panel * FREQUENCIES * 2 * s.in_channels * lanes;
            let sums = self.sums.at(offset + start * row + self.block % 2 * lanes);
            weights::transform_back::<S>(sums, self.parts, count, row, s.in_channels * row, &mut taps);
            let first = self.block * (lanes / P);
            if P == 1 && count == lanes && first + lanes <= s.out_channels {
                for j in 0..9 {
                    S::transpose(taps.as_ptr().add(j * lanes * lanes), lanes, square.as_mut_ptr());
                    for lane in 0..lanes {
                        let at = ((first + lane) * s.in_channels + start) * 9 + j * lanes;
                        S::store(self.dw.at(at), S::load(square.as_ptr().add(lane * lanes)));
                    }
                }
            } else {
                for o in first..s.out_channels.min(first + lanes / P) {
                    for i in 0..9 * count {
                        let lane = i * lanes + (o - first) * P;
                        let sum = taps[lane..lane + P].iter().sum();
                        *self.dw.at((o * s.in_channels + start) * 9 + i) = sum;
                    }
                }
            }
        }
    }
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        go!(self, S);
    }
}
