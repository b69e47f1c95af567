//! Splitting work over the threads of rayon.

use std::sync::Mutex;

use crate::spin_pool;

/// Values below which handing work to another thread costs more than it saves.
const SMALL: usize = 16 * 1024;

/// Calls `f` for each task, in any order, on any thread.
pub(crate) fn run(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    let threads = rayon::current_num_threads();
    if tasks <= 1 || threads == 1 {
        (0..tasks).for_each(f);
    } else {
        spin_pool::share(threads.min(tasks) - 1, tasks, &f);
    }
}

/// Calls `f` with each item and its number, in any order, on any thread.
pub(crate) fn items<T: Send>(
    items: impl IntoIterator<Item = T>,
    f: impl Fn(usize, T) + Sync + Send,
) {
    let slots: Vec<_> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    run(slots.len(), |i| {
        // Each number occurs once, so that the item is there and its lock is free.
        let item = slots[i].lock().ok().and_then(|mut slot| slot.take());
        item.into_iter().for_each(|item| f(i, item));
    });
}

/// As [`run`] if the work is `worth` several threads, else all on this one.
pub(crate) fn run_if(worth: bool, tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if worth { run(tasks, f) } else { (0..tasks).for_each(f) }
}

/// Calls `f` for each chunk of `size` values and its number, on several threads if the `work` is
/// worth it.
pub(crate) fn chunks(
    slice: &mut [f32],
    size: usize,
    work: usize,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    if work < SMALL || slice.len() <= size {
        slice.chunks_mut(size).enumerate().for_each(|(i, c)| f(i, c));
    } else {
        items(slice.chunks_mut(size), f);
    }
}
