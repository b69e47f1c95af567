//! The cosine transform of blocks of 8 by 8 values.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Side of a block.
pub(in crate::image) const SIDE: usize = 8;
/// A block, row by row: values, or the weights of cosines of each vertical and horizontal
/// frequency.
pub(in crate::image) type Block = [[f32; SIDE]; SIDE];

/// The orthonormal cosines, `[frequency][place]`, and the same transposed.
static COSINES: LazyLock<[Block; 2]> = LazyLock::new(|| {
    let entry = |k: usize, x: usize| {
        let scale = if k == 0 { 1.0 } else { 2.0f64 }.sqrt() / (SIDE as f64).sqrt();
        (scale * (PI * k as f64 * (2 * x + 1) as f64 / (2 * SIDE) as f64).cos()) as f32
    };
    let place = [0, 1, 2, 3, 4, 5, 6, 7];
    [place.map(|k| place.map(|x| entry(k, x))), place.map(|x| place.map(|k| entry(k, x)))]
});

/// The transform of every row, transposed: done twice, rows and columns are transformed.
#[inline(always)]
fn transform(block: &Block, matrix: &Block) -> Block {
    // Sums run over whole rows of the block's transpose, which are vectors.
    let mut across = [[0.0; SIDE]; SIDE];
    for (y, row) in block.iter().enumerate() {
        for (x, value) in row.iter().enumerate() {
            across[x][y] = *value;
        }
    }
    let mut out = [[0.0; SIDE]; SIDE];
    for (out, weights) in out.iter_mut().zip(matrix) {
        for (weight, column) in weights.iter().zip(&across) {
            for (out, value) in out.iter_mut().zip(column) {
                *out += weight * value;
            }
        }
    }
    out
}

/// The orthonormal cosine transform (DCT-II) of a block.
pub(in crate::image) fn cosines(block: &Block) -> Block {
    let matrix = &COSINES[0];
    transform(&transform(block, matrix), matrix)
}

/// The block of which these are the [`cosines`].
pub(in crate::image) fn from_cosines(block: &Block) -> Block {
    let matrix = &COSINES[1];
    transform(&transform(block, matrix), matrix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_orthonormal_and_inverted() {
        let block: Block =
            std::array::from_fn(|y| std::array::from_fn(|x| (3 * y * y + 5 * x) as f32 / 50.0));
        let found = cosines(&block);
        let sum = |block: &Block| block.iter().flatten().map(|v| v * v).sum::<f32>();
        assert!((sum(&block) / sum(&found) - 1.0).abs() < 1e-5);
        let mean = block.iter().flatten().sum::<f32>() / 64.0;
        assert!((found[0][0] - 8.0 * mean).abs() < 1e-4);
        // The rows of the result are vertical frequencies.
        let stripes: Block = std::array::from_fn(|y| [(y as f32).cos(); SIDE]);
        assert!(cosines(&stripes).iter().all(|row| row[1..].iter().all(|v| v.abs() < 1e-5)));
        let back = from_cosines(&found);
        let errors = block.iter().flatten().zip(back.iter().flatten()).map(|(a, b)| (a - b).abs());
        assert!(errors.fold(0.0, f32::max) < 1e-5);
    }
}
