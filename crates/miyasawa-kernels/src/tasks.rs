//! Splitting work over the threads of rayon.

use rayon::prelude::*;

/// Values below which handing work to another thread costs more than it saves.
const SMALL: usize = 16 * 1024;

/// Calls `f` for each task, in any order, on any thread.
pub(crate) fn run(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if tasks <= 1 || rayon::current_num_threads() == 1 {
        (0..tasks).for_each(f);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(f);
    }
}

/// [`run`] if the work is worth several threads, else on this one.
pub(crate) fn run_if(worth: bool, tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if worth { run(tasks, f) } else { (0..tasks).for_each(f) }
}

/// Calls `f` for each chunk of `size` values and its number, on several threads if the `work` is worth it.
pub(crate) fn chunks(
    slice: &mut [f32],
    size: usize,
    work: usize,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    if work < SMALL || slice.len() <= size {
        slice.chunks_mut(size).enumerate().for_each(|(i, c)| f(i, c));
    } else {
        slice.par_chunks_mut(size).enumerate().for_each(|(i, c)| f(i, c));
    }
}
