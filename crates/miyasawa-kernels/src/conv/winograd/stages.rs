//! The stages of a pass, each a kernel for its part of the tiles or of the channels.

use crate::gemm::{self, Fill};
use crate::scratch::{Scratch, SharedMut};
use crate::simd::{Kernel, Simd};

use super::load::LoadTiles;
use super::store::StoreTiles;
use super::tiles::{Grid, Images, Planes};
use super::transform::{Order, WEIGHTS};
use super::weights::{self, Weights};

/// Depths whose weights a panel transforms at a time.
const PANEL_DEPTH: usize = 128;

/// The parameters that all tasks share.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) weights: Weights,
    pub(super) from: Images,
    pub(super) to: Images,
    pub(super) grid: Grid,
    pub(super) order: &'a Order,
    pub(super) per_vector: usize,
    pub(super) x: &'a [f32],
    pub(super) zeros: &'a [f32],
    pub(super) w: &'a [f32],
    pub(super) addend: Option<&'a [f32]>,
    pub(super) y: SharedMut,
}

/// Transforms the weights of a block of results and a few depths:
/// `[panel][transformed weight][depth][panel's lanes]`.
pub(super) struct Pack<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) block: usize,
    pub(super) depths: (usize, usize),
    pub(super) out: SharedMut,
}

impl Pack<'_> {
    #[inline(always)]
    unsafe fn run_tiles<S: Simd, const P: usize>(self) {
        let weights = &self.pass.weights;
        let (panel, lanes) = (self.block / 2, S::LANES);
        let out_blocks = weights.results().div_ceil(lanes / P);
        let width = (out_blocks - 2 * panel).min(2);
        let mut taps = Scratch::new(9 * lanes * lanes);
        let offset = panel * weights::panel(weights.depth(), lanes)
            + self.depths.0 * width * lanes
            + self.block % 2 * lanes;
        // SAFETY: the packed weights have room for all blocks and depths; these are only this
        // task's.
        unsafe {
            let out = self.out.at(offset);
            let stride = weights::stride(weights.depth(), width * lanes, lanes);
            weights::transform::<S, P>(
                weights,
                self.pass.w,
                self.depths,
                self.block,
                &mut taps,
                out,
                width * lanes,
                stride,
            );
        }
    }
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        run_for_tiles!(self, S);
    }
}

/// Transforms some tiles for all panels.
pub(super) struct Load<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) planes: Planes,
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) blocks: (usize, usize),
    pub(super) out: SharedMut,
    pub(super) first_row: usize,
}

impl Kernel for Load<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pass { grid, from, x, zeros, .. } = self.pass;
        let tiles = (self.start, self.rows);
        // SAFETY: `out` is as long as the planes; these rows and blocks are only this task's.
        unsafe {
            S::call(LoadTiles::<1> {
                kind: self.pass.weights.kind,
                operands: self.pass.weights.operands,
                gradient: false,
                grid: &grid,
                images: &from,
                x,
                zeros,
                tiles,
                blocks: self.blocks,
                planes: &self.planes,
                out: self.out,
                first_row: self.first_row,
            });
        }
    }
}

/// Takes `rows` vectors of tiles from the images to the result.
pub(super) struct Fused<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) packed: &'a [f32],
    pub(super) start: usize,
    pub(super) rows: usize,
}

impl Fused<'_> {
    #[inline(always)]
    unsafe fn run_tiles<S: Simd, const P: usize>(self) {
        let Self { pass, rows, .. } = self;
        let (lanes, width) = (S::LANES, S::LANES / P);
        let (depth, out_blocks) = (pass.weights.depth(), pass.weights.results().div_ceil(width));
        let fill = Fill::dense(depth, width);
        let kind = pass.weights.kind;
        let planes = Planes::new(kind.products(), fill.blocks, rows, lanes);
        let products = Planes::new(kind.products(), out_blocks.min(2), rows, lanes);
        let (mut v, mut m) = (Scratch::new(planes.len()), Scratch::new(products.len()));
        let start = self.start * P;
        let tiles = (start, (rows * P).min(pass.grid.tiles - start));
        // SAFETY: the buffers have the lengths of their planes, the packed weights all panels;
        // these tiles of the result are only this task's.
        unsafe {
            S::call(LoadTiles::<P> {
                kind,
                operands: pass.weights.operands,
                gradient: false,
                grid: &pass.grid,
                images: &pass.from,
                x: pass.x,
                zeros: pass.zeros,
                tiles,
                blocks: (0, fill.blocks),
                planes: &planes,
                out: SharedMut::new(&mut v),
                first_row: 0,
            });
            for panel in 0..out_blocks.div_ceil(2) {
                let products = Planes { blocks: (out_blocks - 2 * panel).min(2), ..products };
                let b = self.packed.as_ptr().add(panel * weights::panel(depth, lanes));
                let stride = weights::stride(depth, products.blocks * lanes, lanes);
                for &(f, weight) in pass.order.pairs() {
                    let a = (v.as_ptr().add(f * planes.stride), planes.block);
                    let c = (m.as_mut_ptr().add(f * products.stride), products.block);
                    let b = b.add(weight * stride);
                    gemm::nn::<S, P>(rows, fill, a, b, products.blocks, c, false);
                }
                S::call(StoreTiles::<P> {
                    kind: pass.weights.kind,
                    grid: &pass.grid,
                    images: &pass.to,
                    m: &m,
                    planes: &products,
                    tiles,
                    first_block: 2 * panel,
                    addend: pass.addend,
                    y: pass.y,
                });
            }
        }
    }
}

impl Kernel for Fused<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        run_for_tiles!(self, S);
    }
}

/// Takes transformed tiles to the result for one panel of its channels.
pub(super) struct Panel<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) planes: Planes,
    pub(super) tiles: &'a [f32],
    pub(super) start: usize,
    pub(super) panel: usize,
}

impl Kernel for Panel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { pass, planes, panel, .. } = self;
        let lanes = S::LANES;
        let (depth, out_blocks) = (pass.weights.depth(), pass.weights.results().div_ceil(lanes));
        let products =
            Planes::new(planes.products, (out_blocks - 2 * panel).min(2), planes.rows, lanes);
        let row = products.blocks * lanes;
        let step = PANEL_DEPTH.min(depth);
        let stride = weights::stride(step, row, lanes);
        let mut u = Scratch::new(WEIGHTS * stride);
        let mut m = Scratch::new(products.len());
        let mut taps = Scratch::new(9 * lanes * lanes);
        // SAFETY: the buffers have the lengths of their planes and of the weights of `step` depths;
        // these channels of the result are only this task's.
        unsafe {
            for start in (0..depth).step_by(step) {
                let end = depth.min(start + step);
                for block in 0..products.blocks {
                    let (block, u) = (2 * panel + block, u.as_mut_ptr().add(block * lanes));
                    weights::transform::<S, 1>(
                        &pass.weights,
                        pass.w,
                        (start, end),
                        block,
                        &mut taps,
                        u,
                        row,
                        stride,
                    );
                }
                for &(f, weight) in pass.order.pairs() {
                    let a =
                        self.tiles.as_ptr().add(f * planes.stride + start / lanes * planes.block);
                    let c = (m.as_mut_ptr().add(f * products.stride), products.block);
                    let b = u.as_ptr().add(weight * stride);
                    let fill = Fill::dense(end - start, lanes);
                    gemm::nn::<S, 1>(
                        planes.rows,
                        fill,
                        (a, planes.block),
                        b,
                        products.blocks,
                        c,
                        start > 0,
                    );
                }
            }
            let tiles = (self.start, planes.rows);
            S::call(StoreTiles::<1> {
                kind: pass.weights.kind,
                grid: &pass.grid,
                images: &pass.to,
                m: &m,
                planes: &products,
                tiles,
                first_block: 2 * panel,
                addend: pass.addend,
                y: pass.y,
            });
        }
    }
}
