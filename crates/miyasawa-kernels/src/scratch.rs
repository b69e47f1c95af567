//! Working memory that each thread keeps, so that nothing is allocated once all sizes have
//! occurred.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Bytes of all threads' buffers, and the most there ever were.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// A buffer that is counted while it lives.
#[derive(Default)]
struct Buffer(Vec<Line>);

impl Buffer {
    fn new(lines: usize) -> Self {
        let bytes = lines * size_of::<Line>();
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        MOST.fetch_max(held, Ordering::Relaxed);
        Self(vec![Line([0.0; 16]); lines])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0.len() * size_of::<Line>(), Ordering::Relaxed);
    }
}

thread_local! {
    static POOL: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// The most working memory that the kernels of all threads ever held at once, in bytes.
pub fn most_bytes() -> usize {
    MOST.load(Ordering::Relaxed)
}

/// Values on a cache-line boundary, of unspecified content, returned to the thread's pool when
/// dropped.
pub(crate) struct Scratch {
    buffer: Buffer,
    len: usize,
}

impl Scratch {
    /// Takes the smallest pooled buffer that holds `len` values, else grows the largest.
    pub(crate) fn new(len: usize) -> Self {
        let needed = len.div_ceil(16);
        let mut buffer = POOL.with_borrow_mut(|pool| {
            let size = |i: &usize| pool[*i].0.len();
            let fits = (0..pool.len()).filter(|i| size(i) >= needed).min_by_key(size);
            let best = fits.or_else(|| (0..pool.len()).max_by_key(size));
            best.map_or_else(Buffer::default, |i| pool.swap_remove(i))
        });
        if buffer.0.len() < needed {
            // A fresh allocation: the old content is of no use, so it is not worth copying.
            drop(buffer);
            buffer = Buffer::new(needed);
        }
        Self { buffer, len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // The pool is gone while its thread ends; then the buffer is simply freed.
        let _ = POOL.try_with(|pool| pool.borrow_mut().push(buffer));
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `buffer` holds at least `len` initialised values; a `Line` is sixteen `f32` and
        // no padding.
        unsafe { std::slice::from_raw_parts(self.buffer.0.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.0.as_mut_ptr().cast(), self.len) }
    }
}

/// A pointer that tasks share to write disjoint parts of one slice.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(*mut f32);

// SAFETY: each user of `SharedMut::at` guarantees to write only where no other task reads or
// writes.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    pub(crate) fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// Of memory that the tasks initialise.
    pub(crate) fn unwritten(slice: &mut [MaybeUninit<f32>]) -> Self {
        Self(slice.as_mut_ptr().cast())
    }

    /// The rest of the slice.
    ///
    /// # Safety
    /// As [`SharedMut::at`].
    #[inline(always)]
    pub(crate) unsafe fn offset(self, offset: usize) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { self.0.add(offset) })
    }

    /// # Safety
    /// `offset` lies within the slice (or one past its end).
    #[inline(always)]
    pub(crate) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_and_aligned() {
        let first = Scratch::new(1000);
        let address = first.as_ptr();
        assert_eq!(address as usize % 64, 0);
        assert_eq!(first.len(), 1000);
        let other = Scratch::new(10);
        drop(first);
        assert_eq!(Scratch::new(900).as_ptr(), address);
        drop(other);
        assert_eq!(Scratch::new(1000).as_ptr(), address);
        assert!(most_bytes() >= 4 * 1010);
    }
}
