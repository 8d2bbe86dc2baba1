//! Runs futures that wait for the host, with as few calls to it as possible: a future keeps what it waits for, which is made once and
//! not given back.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use ::wasi::io::poll::{Pollable, poll};

thread_local! {
    /// What futures wait for, and their wakers. Nobody waits any more for what its owner has dropped.
    static WAITING: RefCell<Vec<(Weak<Pollable>, Waker)>> = const { RefCell::new(Vec::new()) };
}

/// A resource of the host that becomes ready.
pub(super) struct Waitable(Rc<Pollable>);

impl Waitable {
    pub(super) fn new(pollable: Pollable) -> Self {
        Self(Rc::new(pollable))
    }

    /// Asks the host.
    pub(super) fn is_ready(&self) -> bool {
        self.0.ready()
    }

    /// Leaves it to the host, which drops it with the instance: giving it back is a call.
    pub(super) fn leave(self) {
        // Only `run` holds it too, while it is in the host's poll.
        if let Ok(pollable) = Rc::try_unwrap(self.0) {
            mem::forget(pollable);
        }
    }

    fn register(&self, waker: &Waker) {
        let this = Rc::downgrade(&self.0);
        WAITING.with_borrow_mut(|waiting| {
            waiting.retain(|(other, _)| !Weak::ptr_eq(other, &this));
            waiting.push((this, waker.clone()));
        });
    }
}

/// Waits until one of them may be ready. The caller has to check, because a future may be woken for no reason.
pub(super) async fn any(waitables: &[&Waitable]) {
    let mut registered = false;
    poll_fn(|context| {
        if mem::replace(&mut registered, true) {
            return Poll::Ready(());
        }
        for waitable in waitables {
            waitable.register(context.waker());
        }
        Poll::Pending
    })
    .await;
}

/// Runs a future to its end. Whenever it cannot go on, the instance waits in the host. The future may wait only for what comes from
/// this module.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    // Each round polls it, so it needs no waker.
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        let waiting = WAITING.take();
        let waiting: Vec<_> = waiting.into_iter().filter_map(|(weak, waker)| Some((weak.upgrade()?, waker))).collect();
        let mut ready = vec![false; waiting.len()];
        let pollables: Vec<&Pollable> = waiting.iter().map(|(pollable, _)| &**pollable).collect();
        for index in poll(&pollables) {
            if let Some(ready) = usize::try_from(index).ok().and_then(|index| ready.get_mut(index)) {
                *ready = true;
            }
        }
        let mut still = Vec::new();
        for ((pollable, waker), ready) in waiting.into_iter().zip(ready) {
            if ready {
                waker.wake();
            } else {
                still.push((Rc::downgrade(&pollable), waker));
            }
        }
        WAITING.set(still);
    }
}
