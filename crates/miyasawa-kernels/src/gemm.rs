//! The two matrix products that all convolution algorithms here are built on.
//!
//! An operand is *blocked*: its columns are cut into blocks of [`Simd::LANES`] values, each block
//! is stored as its rows of exactly one vector, one after another, and blocks lie a fixed stride
//! apart. A row's values are then at offsets known when compiling, whatever the number of channels.
//!
//! A *panel* matrix (the weights) has two blocks of columns side by side in each of its rows, the
//! last panel one if their number is odd; panels follow each other without gaps.
//!
//! With `P = 2` a vector holds two rows, interleaved, of half as many values: layers of up to half
//! a vector's channels would waste the other half.

use crate::simd::{Kernel, Simd};

/// How the columns of a blocked operand fill its blocks: every `period`-th block has `last` values,
/// the others are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) blocks: usize,
    pub(crate) period: usize,
    pub(crate) last: usize,
}

impl Fill {
    /// `n` columns without gaps.
    pub(crate) fn dense(n: usize, block: usize) -> Self {
        let blocks = n.div_ceil(block);
        Self { blocks, period: blocks, last: n - (blocks - 1) * block }
    }

    /// Values in block `i` of width `block`.
    #[inline(always)]
    pub(crate) fn block_len(&self, i: usize, block: usize) -> usize {
        if i % self.period == self.period - 1 { self.last } else { block }
    }

    /// Values in the first `n` blocks, `n` a multiple of the period.
    pub(crate) fn columns(&self, n: usize, block: usize) -> usize {
        n / self.period * ((self.period - 1) * block + self.last)
    }
}

#[inline(always)]
unsafe fn splat<S: Simd, const P: usize>(p: *const f32) -> S::V {
    // SAFETY: the caller's promise that `P` values can be read.
    unsafe { if P == 2 { S::splat_pair(p) } else { S::splat(*p) } }
}

/// Calls `$f::<S, P, ROWS, NR>` for a number of rows known only at run time.
macro_rules! with_rows {
    ($rows:expr, $nr:tt, $f:ident, $args:tt, [$($n:literal)*]) => {
        match $rows {
            $($n => $f::<S, P, $n, $nr> $args,)*
            _ => unreachable!("more rows than a tile has"),
        }
    };
}

#[inline(always)]
unsafe fn nn_tile<S: Simd, const P: usize, const M: usize, const N: usize>(
    fill: Fill,
    mut a: *const f32,
    a_block: usize,
    mut b: *const f32,
    c: *mut f32,
    c_block: usize,
    accumulate: bool,
) {
    // SAFETY: `nn` passes pointers to tiles inside its operands.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        if accumulate {
            for (m, acc) in acc.iter_mut().enumerate() {
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(c.add(n * c_block + m * S::LANES));
                }
            }
        }
        for block in 0..fill.blocks {
            for k in 0..fill.block_len(block, S::LANES / P) {
                let mut row = [S::splat(0.0); N];
                for (n, row) in row.iter_mut().enumerate() {
                    *row = S::load(b.add(n * S::LANES));
                }
                for (m, acc) in acc.iter_mut().enumerate() {
                    let x = splat::<S, P>(a.add(m * S::LANES + k * P));
                    for (n, acc) in acc.iter_mut().enumerate() {
                        *acc = S::fma(x, row[n], *acc);
                    }
                }
                b = b.add(N * S::LANES);
            }
            a = a.add(a_block);
        }
        for (m, acc) in acc.iter().enumerate() {
            for (n, acc) in acc.iter().enumerate() {
                S::store(c.add(n * c_block + m * S::LANES), *acc);
            }
        }
    }
}

/// One panel of `C = A*B` or `C += A*B`: `A` and `C` blocked, `B` a panel of `width` (1 or 2)
/// blocks. `rows` counts vectors, that is `P` rows each.
///
/// # Safety
/// The pointers are valid for matrices of these sizes.
#[inline(always)]
pub(crate) unsafe fn nn<S: Simd, const P: usize>(
    rows: usize,
    fill: Fill,
    a: (*const f32, usize),
    b: *const f32,
    width: usize,
    c: (*mut f32, usize),
    accumulate: bool,
) {
    // SAFETY: the caller's promise.
    unsafe { S::call(Nn::<P> { rows, fill, a, b, width, c, accumulate }) }
}

struct Nn<const P: usize> {
    rows: usize,
    fill: Fill,
    a: (*const f32, usize),
    b: *const f32,
    width: usize,
    c: (*mut f32, usize),
    accumulate: bool,
}

impl<const P: usize> Kernel for Nn<P> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, fill, a: (a, a_block), b, width, c: (c, c_block), accumulate } = self;
        let full = if width == 2 { S::ROWS } else { 16.min(2 * S::ROWS) };
        let mut row = 0;
        while row < rows {
            let n = full.min(rows - row);
            // SAFETY: rows `row..row + n` exist.
            unsafe {
                let (a, c) = (a.add(row * S::LANES), c.add(row * S::LANES));
                if width == 2 {
                    with_rows!(n, 2, nn_tile, (fill, a, a_block, b, c, c_block, accumulate),
                    [1 2 3 4 5 6 7 8]);
                } else {
                    with_rows!(n, 1, nn_tile, (fill, a, a_block, b, c, c_block, accumulate),
                    [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16]);
                }
            }
            row += n;
        }
    }
}

#[inline(always)]
unsafe fn tn_tile<S: Simd, const P: usize, const M: usize, const N: usize>(
    rows: usize,
    a: *const f32,
    b: *const f32,
    b_block: usize,
    c: *mut f32,
    accumulate: bool,
) {
    // SAFETY: `tn` passes pointers to tiles inside its operands.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        if accumulate {
            for (m, acc) in acc.iter_mut().enumerate() {
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(c.add((m * N + n) * S::LANES));
                }
            }
        }
        for r in 0..rows {
            let mut row = [S::splat(0.0); N];
            for (n, row) in row.iter_mut().enumerate() {
                *row = S::load(b.add(n * b_block + r * S::LANES));
            }
            for (m, acc) in acc.iter_mut().enumerate() {
                let x = splat::<S, P>(a.add(r * S::LANES + m * P));
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = S::fma(x, row[n], *acc);
                }
            }
        }
        for (m, acc) in acc.iter().enumerate() {
            for (n, acc) in acc.iter().enumerate() {
                S::store(c.add((m * N + n) * S::LANES), *acc);
            }
        }
    }
}

/// One panel of `C = A^T*B` or `C += A^T*B`: `A` blocked, `B` `width` (1 or 2) blocks, `C` a panel
/// whose rows are `A`'s columns. `rows` counts vectors, that is `P` rows each.
///
/// # Safety
/// The pointers are valid for matrices of these sizes.
#[inline(always)]
pub(crate) unsafe fn tn<S: Simd, const P: usize>(
    rows: usize,
    fill: Fill,
    a: (*const f32, usize),
    b: (*const f32, usize),
    width: usize,
    c: *mut f32,
    accumulate: bool,
) {
    // SAFETY: the caller's promise.
    unsafe { S::call(Tn::<P> { rows, fill, a, b, width, c, accumulate }) }
}

struct Tn<const P: usize> {
    rows: usize,
    fill: Fill,
    a: (*const f32, usize),
    b: (*const f32, usize),
    width: usize,
    c: *mut f32,
    accumulate: bool,
}

impl<const P: usize> Kernel for Tn<P> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, fill, a: (a, a_block), b: (b, b_block), width, mut c, accumulate } = self;
        let most = if width == 2 { S::COLUMNS } else { 16.min(2 * S::COLUMNS) };
        for block in 0..fill.blocks {
            let columns = fill.block_len(block, S::LANES / P);
            // Tiles of nearly the same height: 16 columns as 8 + 8, not 12 + 4.
            let tiles = columns.div_ceil(most);
            for tile in 0..tiles {
                let (start, end) = (tile * columns / tiles, (tile + 1) * columns / tiles);
                // SAFETY: columns `start..end` of the block exist.
                unsafe {
                    let a = a.add(block * a_block + start * P);
                    if width == 2 {
                        with_rows!(end - start, 2, tn_tile, (rows, a, b, b_block, c, accumulate),
                        [1 2 3 4 5 6 7 8 9 10 11 12]);
                    } else {
                        with_rows!(end - start, 1, tn_tile, (rows, a, b, b_block, c, accumulate),
                        [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16]);
                    }
                    c = c.add((end - start) * width * S::LANES);
                }
            }
        }
    }
}
