//! Results in new memory that is not zeroed first.
//!
//! Writing zeros that a kernel overwrites took a twelfth of a training step. Kernels write into
//! uninitialised memory; code that works on slices in several passes has its part zeroed just
//! before, in the cache.

use std::mem::MaybeUninit;

/// Zeros the memory and returns it as values.
pub(crate) fn zeroed(y: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    y.fill(MaybeUninit::new(0.0));
    let (p, len) = (y.as_mut_ptr().cast(), y.len());
    // SAFETY: the same memory and layout, all of it written just above.
    unsafe { std::slice::from_raw_parts_mut(p, len) }
}

/// New vectors of these lengths, filled by `write`.
///
/// # Safety
/// `write` must write every value of every slice passed to it.
pub(crate) unsafe fn vectors<const N: usize>(
    lens: [usize; N],
    write: impl FnOnce([&mut [MaybeUninit<f32>]; N]),
) -> [Vec<f32>; N] {
    let mut vectors: [Vec<f32>; N] = lens.map(Vec::with_capacity);
    let mut slices = lens.into_iter();
    // The tests of a kernel find values that it leaves out.
    #[cfg(test)]
    vectors
        .iter_mut()
        .zip(lens)
        .for_each(|(v, len)| v.spare_capacity_mut()[..len].fill(MaybeUninit::new(f32::NAN)));
    write(vectors.each_mut().map(|v| &mut v.spare_capacity_mut()[..slices.next().unwrap_or(0)]));
    for (vector, len) in vectors.iter_mut().zip(lens) {
        // SAFETY: the capacity is at least `len`, and `write` has written that many values.
        unsafe { vector.set_len(len) };
    }
    vectors
}
