//! A queue of bounded length between the connections and the thread that computes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What waits to be computed. Its length is bounded; what belongs together is taken together.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

/// Why something was not put into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is full.
    Full,
    /// Nothing is taken from it any more.
    Closed,
}

impl<T> Queue<T> {
    pub fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one in at the end.
    pub fn push(&self, one: T) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() >= self.capacity {
            return Err(Refused::Full);
        }
        state.waiting.push_back(one);
        self.changed.notify_one();
        Ok(())
    }

    /// Whether one more would be refused.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Waits for one, and takes with it those that may be computed with it, up to `most` together,
    /// in their order. Nothing once the queue is closed and empty.
    pub fn take(&self, most: usize, together: impl Fn(&T, &T) -> bool) -> Option<Vec<T>> {
        let mut state = self.lock();
        let first = loop {
            if let Some(first) = state.waiting.pop_front() {
                break first;
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let mut taken = vec![first];
        let mut at = 0;
        while taken.len() < most && at < state.waiting.len() {
            if together(&taken[0], &state.waiting[at]) {
                taken.extend(state.waiting.remove(at));
            } else {
                at += 1;
            }
        }
        Some(taken)
    }

    /// Refuses more; what waits is still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_is_taken_together_in_order() {
        let queue = Queue::new(6);
        for one in [1, 12, 3, 14, 5, 7] {
            queue.push(one).unwrap();
        }
        assert_eq!(queue.push(9), Err(Refused::Full));
        let small = |a: &i32, b: &i32| (*a < 10) == (*b < 10);
        assert_eq!(queue.take(3, small), Some(vec![1, 3, 5]));
        assert_eq!(queue.take(3, small), Some(vec![12, 14]));
        queue.close();
        assert_eq!(queue.push(9), Err(Refused::Closed));
        assert_eq!(queue.take(3, small), Some(vec![7]));
        assert_eq!(queue.take(3, small), None);
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let queue = Queue::new(1);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take(1, |_, _| true));
            queue.push(4).unwrap();
            assert_eq!(taken.join().unwrap(), Some(vec![4]));
            let ended = scope.spawn(|| queue.take(1, |_, _| true));
            queue.close();
            assert_eq!(ended.join().unwrap(), None);
        });
    }
}
