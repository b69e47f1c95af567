//! How a program's allocator treats freed memory.

/// Makes mimalloc keep freed pages instead of returning them to the system after a while.
///
/// A training step allocates the same sizes again and again. Pages that were returned are cleared
/// anew by the system when they are touched, which takes a tenth of a step. The process keeps its
/// peak memory, which it needs again in the next step. Call it first in a program whose global
/// allocator is mimalloc.
pub fn keep_pages() {
    set_purge_delay(-1);
}

/// Makes mimalloc return freed pages to the system after some milliseconds, in which loops that
/// allocate the same sizes again reuse them.
pub fn keep_pages_for(milliseconds: u16) {
    set_purge_delay(milliseconds.into());
}

/// Makes mimalloc return freed pages to the system at once, those freed before as well unless they
/// were to be kept: before and after the work on a large image, whose file, bytes and tiles are not
/// in memory at the same time.
pub fn return_pages() {
    set_purge_delay(0);
    // SAFETY: the call frees what nothing refers to, and takes no pointer.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Milliseconds until freed pages are returned; -1 is never.
fn set_purge_delay(milliseconds: std::ffi::c_long) {
    /// `mi_option_purge_delay` of `mi_option_e` in mimalloc.h, versions 2 and 3.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: the call stores a number in the allocator's table of options and does nothing else.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds) }
}
