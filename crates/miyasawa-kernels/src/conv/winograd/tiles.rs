//! The images of a convolution, their tiles, and the blocked matrices of the transforms.

/// Images of one side of the convolution and the windows of them that tiles are made of.
#[derive(Clone, Copy)]
pub(super) struct Images {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Rows and columns of zeros before the first value of the first window.
    pub(super) padding: usize,
    /// Pixels between windows (or tiles).
    pub(super) step: usize,
}

/// The tiles of a batch, numbered image by image and row by row.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) down: usize,
    pub(super) across: usize,
    pub(super) tiles: usize,
}

impl Grid {
    pub(super) fn new(batch: usize, height: usize, width: usize, tile: usize) -> Self {
        let (down, across) = (height.div_ceil(tile), width.div_ceil(tile));
        Self { down, across, tiles: batch * down * across }
    }

    /// Image, row and column of a tile.
    #[inline(always)]
    pub(super) fn position(&self, tile: usize) -> (usize, usize, usize) {
        (tile / (self.down * self.across), tile / self.across % self.down, tile % self.across)
    }
}

/// A matrix for each product of a tile, blocked as in [`crate::gemm`], of `rows` vectors a block.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) products: usize,
    pub(super) blocks: usize,
    pub(super) rows: usize,
    /// Values between the matrices of two products.
    pub(super) stride: usize,
    /// Values between blocks.
    pub(super) block: usize,
}

impl Planes {
    pub(super) fn new(products: usize, blocks: usize, rows: usize, lanes: usize) -> Self {
        // An odd number of vectors between products: one tile writes all of them, and at a distance
        // of a power of two they would evict each other.
        Self { products, blocks, rows, stride: ((blocks * rows) | 1) * lanes, block: rows * lanes }
    }

    pub(super) fn len(&self) -> usize {
        self.products * self.stride
    }
}
