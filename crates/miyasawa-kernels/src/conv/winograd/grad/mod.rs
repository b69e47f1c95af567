//! The weight gradient in the transformed domain.
//!
//! The sums over tiles are a matrix product for each transformed weight, and three ways to share
//! them out keep reused data in the second-level cache:
//!
//! - [`RowRange`]: few weights. A task sums over a range of tiles, for all outputs or some panels
//!   of them, and the sums of the ranges are added in order; the ranges depend on the shape alone.
//! - [`Block`]: many weights, few tiles. All tiles are transformed first; a task takes a block of
//!   channels to the end.
//! - [`Frequency`]: many of both. All tiles are transformed first; a task takes one transformed
//!   weight of all channels.

mod finish;

use crate::gemm::{self, Fill};
use crate::isa::Isa;
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};
use crate::tasks;

use super::super::ConvShape;
use super::super::direct::part;
use super::load::LoadTiles;
use super::tiles::{Grid, Images, Planes};
use super::transform::{Order, TILE, Tiling, WEIGHTS};
use super::{sides, tiles_per_vector, weights};

/// Sums that a task keeps in its cache.
const RANGE_SUMS: usize = 320 * 1024;
/// Most parts of the outputs for which transforming the input again costs less than storing the
/// tiles.
const RANGE_PARTS: usize = 4;
/// Values of the transformed tiles of one task.
const RANGE_TILES: usize = 192 * 1024;
/// Most ranges.
const RANGES: usize = 8;
/// Values of the tiles that are transformed at once for all weights.
const SHARED_TILES: usize = 2 * 1024 * 1024;
/// Most rows for which reading the tiles again for each panel costs less than storing the sums.
const BLOCK_ROWS: usize = 64;
/// Input channels of a block.
const BLOCK_DEPTH: usize = 64;

/// The parameters that all tasks share.
#[derive(Clone, Copy)]
struct Pass<'a> {
    s: &'a ConvShape,
    kind: Tiling,
    order: &'a Order,
    grid: Grid,
    per_vector: usize,
    x: &'a [f32],
    g: &'a [f32],
    zeros: &'a [f32],
}

impl Pass<'_> {
    fn images(&self) -> (Images, Images) {
        sides(self.s, self.kind)
    }

    /// Planes of the input and of the gradient for some rows.
    fn planes(&self, rows: usize, lanes: usize) -> (Planes, Planes) {
        let width = lanes / self.per_vector;
        let (inputs, outputs) =
            (self.s.in_channels.div_ceil(width), self.s.out_channels.div_ceil(width));
        let products = self.kind.products();
        (Planes::new(products, inputs, rows, lanes), Planes::new(products, outputs, rows, lanes))
    }
}

pub(in super::super) fn weight_grad(isa: Isa, s: &ConvShape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let lanes = isa.lanes();
    let per_vector = tiles_per_vector(isa, s.in_channels, s.out_channels);
    let kind = if s.stride == 1 { Tiling::Unit } else { Tiling::Down };
    let mut zeros = Scratch::new(s.in_channels.max(s.out_channels));
    zeros.fill(0.0);
    let grid = Grid::new(s.batch, s.out_height(), s.out_width(), TILE);
    let rows = grid.tiles.div_ceil(per_vector);
    let pass = Pass { s, kind, order: &kind.order(), grid, per_vector, x, g, zeros: &zeros };
    let dw = SharedMut::new(dw);

    let one = pass.planes(1, lanes);
    let (blocks, out_blocks) = (one.0.blocks, one.1.blocks);
    let row_size = kind.products() * (blocks + out_blocks) * lanes;
    let size = weights::panel(s.in_channels, lanes) * out_blocks.div_ceil(2);
    let panels = out_blocks.div_ceil(2);
    let parts = size.div_ceil(RANGE_SUMS).min(panels);
    if parts == 1 || rows > BLOCK_ROWS && parts <= RANGE_PARTS {
        let step = (RANGE_TILES / row_size / 8 * 8).clamp(32, 64);
        let ranges = rows.div_ceil(32).min(RANGES / parts);
        let mut sums = Scratch::new(size * ranges);
        let shared = SharedMut::new(&mut sums);
        tasks::run(ranges * parts, |i| {
            let (rows, panels) = (part(rows, ranges, i / parts), part(panels, parts, i % parts));
            // SAFETY: `i / parts < ranges`.
            let out = unsafe { shared.offset(i / parts * size) };
            isa.run(RowRange { pass, rows, panels, step, out });
        });
        return finish::weights_from_sums(isa, pass, shared, (ranges, size), dw);
    }
    let step = if rows <= BLOCK_ROWS { rows } else { (SHARED_TILES / row_size).max(32).min(rows) };
    let longest = pass.planes(step, lanes);
    let (mut v, mut z) = (Scratch::new(longest.0.len()), Scratch::new(longest.1.len()));
    let mut sums = Scratch::new(if rows <= BLOCK_ROWS { 0 } else { size });
    let shared = SharedMut::new(&mut sums);
    for start in (0..rows).step_by(step) {
        let count = step.min(rows - start);
        let planes = pass.planes(count, lanes);
        let out = (SharedMut::new(&mut v), SharedMut::new(&mut z));
        let (row_parts, block_parts) = (count.div_ceil(8), (blocks + out_blocks).div_ceil(4));
        tasks::run(row_parts * block_parts, |i| {
            let row = i / block_parts * 8;
            let first = i % block_parts * 4;
            let range = (first, (first + 4).min(blocks + out_blocks));
            isa.run(Load {
                pass,
                planes,
                start: start + row,
                rows: 8.min(count - row),
                range,
                out,
                row,
            });
        });
        let (v, z) = (&v[..], &z[..]);
        if rows <= BLOCK_ROWS {
            let steps = s.in_channels.div_ceil(BLOCK_DEPTH);
            return tasks::run(steps * out_blocks.div_ceil(2), |i| {
                let first = i % steps * BLOCK_DEPTH;
                let depths = (first, s.in_channels.min(first + BLOCK_DEPTH));
                isa.run(Block { pass, planes, v, z, panel: i / steps, depths, dw });
            });
        }
        tasks::run(WEIGHTS, |weight| {
            isa.run(Frequency { pass, planes, v, z, weight, accumulate: start > 0, out: shared });
        });
    }
    finish::weights_from_sums(isa, pass, shared, (1, size), dw);
}

/// Sums over a range of rows, `step` at a time.
struct RowRange<'a> {
    pass: Pass<'a>,
    rows: (usize, usize),
    panels: (usize, usize),
    step: usize,
    /// `[panel][transformed weight][in][panel's lanes]`
    out: SharedMut,
}

impl RowRange<'_> {
    #[inline(always)]
    unsafe fn run_tiles<S: Simd, const P: usize>(self) {
        let pass = self.pass;
        let images = pass.images();
        let step = self.step.min(self.rows.1 - self.rows.0);
        let longest = pass.planes(step, S::LANES);
        let (mut v, mut z) = (Scratch::new(longest.0.len()), Scratch::new(longest.1.len()));
        let blocks = (2 * self.panels.0, longest.1.blocks.min(2 * self.panels.1));
        for start in (self.rows.0..self.rows.1).step_by(step) {
            let rows = step.min(self.rows.1 - start);
            let planes = pass.planes(rows, S::LANES);
            let tiles = (start * P, (rows * P).min(pass.grid.tiles - start * P));
            // SAFETY: the buffers are as long as their planes; the sums are only this task's.
            unsafe {
                load::<S, P>(
                    &pass,
                    &images.0,
                    false,
                    tiles,
                    None,
                    &planes.0,
                    SharedMut::new(&mut v),
                    0,
                );
                load::<S, P>(
                    &pass,
                    &images.1,
                    true,
                    tiles,
                    Some(blocks),
                    &planes.1,
                    SharedMut::new(&mut z),
                    0,
                );
                let mut before = None;
                for &(product, weight) in pass.order.pairs() {
                    let accumulate = start > self.rows.0 || before == Some(weight);
                    before = Some(weight);
                    multiply::<S, P>(
                        pass.s,
                        (&v, &z),
                        &planes,
                        self.panels,
                        product,
                        weight,
                        accumulate,
                        self.out,
                    );
                }
            }
        }
    }
}

impl Kernel for RowRange<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        run_for_tiles!(self, S);
    }
}

/// # Safety
/// As for [`LoadTiles`].
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn load<S: Simd, const P: usize>(
    pass: &Pass,
    images: &Images,
    gradient: bool,
    tiles: (usize, usize),
    blocks: Option<(usize, usize)>,
    planes: &Planes,
    out: SharedMut,
    first_row: usize,
) {
    let Pass { kind, ref grid, x, g, zeros, .. } = *pass;
    let x = if gradient { g } else { x };
    let blocks = blocks.unwrap_or((0, planes.blocks));
    // SAFETY: the caller's promise.
    unsafe {
        S::call(LoadTiles::<P> {
            kind,
            operands: pass.s.operands,
            gradient,
            grid,
            images,
            x,
            zeros,
            tiles,
            blocks,
            planes,
            out,
            first_row,
        });
    }
}

/// The sums of one product and some panels.
///
/// # Safety
/// The buffers are as long as their planes, `out` has all sums, and those of the weight are only
/// the caller's.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn multiply<S: Simd, const P: usize>(
    s: &ConvShape,
    (v, z): (&[f32], &[f32]),
    (pv, pz): &(Planes, Planes),
    panels: (usize, usize),
    product: usize,
    weight: usize,
    accumulate: bool,
    out: SharedMut,
) {
    let (lanes, fill) = (S::LANES, Fill::dense(s.in_channels, S::LANES / P));
    for panel in panels.0..panels.1 {
        let width = (pz.blocks - 2 * panel).min(2);
        // SAFETY: product, weight and panel are inside the buffers.
        unsafe {
            let a = (v.as_ptr().add(product * pv.stride), pv.block);
            let b = (z.as_ptr().add(product * pz.stride + 2 * panel * pz.block), pz.block);
            let stride = weights::stride(s.in_channels, width * lanes, lanes);
            let c = out.at(panel * weights::panel(s.in_channels, lanes) + weight * stride);
            gemm::tn::<S, P>(pv.rows, fill, a, b, width, c, accumulate);
        }
    }
}

/// Transforms some tiles for all weights; the blocks of `g` are numbered after those of `x`.
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
        let Self { pass, row, .. } = self;
        let images = pass.images();
        let (pv, pz) = &self.planes;
        let tiles = (self.start, self.rows);
        let (first, last) = self.range;
        let x_blocks = (first.min(pv.blocks), last.min(pv.blocks));
        let g_blocks = (first.max(pv.blocks) - pv.blocks, last.max(pv.blocks) - pv.blocks);
        // SAFETY: the buffers are as long as their planes; these rows and blocks are only this
        // task's.
        unsafe {
            load::<S, 1>(&pass, &images.0, false, tiles, Some(x_blocks), pv, self.out.0, row);
            load::<S, 1>(&pass, &images.1, true, tiles, Some(g_blocks), pz, self.out.1, row);
        }
    }
}

/// Sums one transformed weight over the tiles.
struct Frequency<'a> {
    pass: Pass<'a>,
    planes: (Planes, Planes),
    v: &'a [f32],
    z: &'a [f32],
    weight: usize,
    accumulate: bool,
    out: SharedMut,
}

impl Kernel for Frequency<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut accumulate = self.accumulate;
        for &(product, weight) in
            self.pass.order.pairs().iter().filter(|(_, weight)| *weight == self.weight)
        {
            let buffers = (self.v, self.z);
            let panels = (0, self.planes.1.blocks.div_ceil(2));
            // SAFETY: the buffers are as long as their planes; the weight is only this task's.
            unsafe {
                multiply::<S, 1>(
                    self.pass.s,
                    buffers,
                    &self.planes,
                    panels,
                    product,
                    weight,
                    accumulate,
                    self.out,
                );
            }
            accumulate = true;
        }
    }
}

/// Takes the tiles to the weights of a panel of outputs and a few inputs.
struct Block<'a> {
    pass: Pass<'a>,
    planes: (Planes, Planes),
    v: &'a [f32],
    z: &'a [f32],
    panel: usize,
    depths: (usize, usize),
    dw: SharedMut,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { pass, planes: (pv, pz), panel, depths: (start, end), .. } = self;
        let lanes = S::LANES;
        let (fill, width) = (Fill::dense(end - start, lanes), (pz.blocks - 2 * panel).min(2));
        let (row, stride) = (width * lanes, weights::stride(end - start, width * lanes, lanes));
        let mut sums = Scratch::new(WEIGHTS * stride);
        let mut before = None;
        // SAFETY: the buffers are as long as their planes, the sums as the weights of these
        // channels.
        unsafe {
            for &(product, weight) in pass.order.pairs() {
                let a =
                    (self.v.as_ptr().add(product * pv.stride + start / lanes * pv.block), pv.block);
                let b = (self.z.as_ptr().add(product * pz.stride + 2 * panel * pz.block), pz.block);
                let c = sums.as_mut_ptr().add(weight * stride);
                gemm::tn::<S, 1>(pv.rows, fill, a, b, width, c, before == Some(weight));
                before = Some(weight);
            }
            for block in 0..width {
                for first in (start..end).step_by(lanes) {
                    let sums = sums.as_mut_ptr().add((first - start) * row + block * lanes);
                    let depths = (first, end.min(first + lanes));
                    let block = 2 * panel + block;
                    finish::block::<S, 1>(
                        &pass,
                        sums,
                        (1, 0),
                        (row, stride),
                        block,
                        depths,
                        self.dw,
                    );
                }
            }
        }
    }
}
