//! How a program's allocator treats freed memory.

/// Makes mimalloc keep freed pages instead of returning them to the system after a while.
///
/// A training step allocates the same sizes again and again. Pages that were returned are cleared
/// anew by the system when they are touched, which takes a tenth of a step. The process keeps its
/// peak memory, which it needs again in the next step. Call it first in a program whose global
/// allocator is mimalloc.
pub fn keep_pages() {
    /// `mi_option_purge_delay` of `mi_option_e` in mimalloc.h, versions 2 and 3; -1 is never.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: the call stores a number in the allocator's table of options and does nothing else.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}
