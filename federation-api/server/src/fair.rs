//! Room for requests, shared fairly: who sends many waits behind their own, and not everybody behind them.
//!
//! ```text
//! request ─▶ flow (user, namespace) ─▶ seat free? ─▶ answered
//!                                          │ no
//!                                          ▼
//!                        the flow's queue ─▶ the next seat goes round the flows ─▶ answered
//!                                          └▶ full, or waited too long ─▶ 429
//! ```
//!
//! Watches take no seat; health and metrics, and whoever is of `system:masters`, are answered at once. The hub's own
//! components do not come this way.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::oneshot;

/// How long a request waits for a seat.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whose request it is, as far as fairness goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub user: String,
    pub namespace: String,
}

/// Why a request got no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("too many requests of the same user wait already")]
    QueueFull,
    #[error("too many requests wait already")]
    Full,
    #[error("no room within 15 s")]
    TimedOut,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Seats, and who waits for one.
#[derive(Debug)]
pub struct Seats {
    state: Mutex<State>,
    /// Requests that may wait in one flow, and in all.
    queue: usize,
    waiting: usize,
    refused: Family<Reason, Counter>,
    taken: Gauge,
    queued: Gauge,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Those who wait, by flow; no queue is empty.
    queues: BTreeMap<Flow, VecDeque<oneshot::Sender<Seat>>>,
    /// The flows that wait, in the order in which they get the next seat.
    turns: VecDeque<Flow>,
    waiting: usize,
}

/// A seat, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Seats>);

impl Seats {
    /// `seats` requests at once; as many again may wait in one flow, and eight times as many in all.
    pub fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: seats,
                queues: BTreeMap::new(),
                turns: VecDeque::new(),
                waiting: 0,
            }),
            queue: seats,
            waiting: seats * 8,
            refused: Family::default(),
            taken: Gauge::default(),
            queued: Gauge::default(),
        })
    }

    /// Adds its metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_flowcontrol_current_executing_requests",
            "Requests that have a seat, watches left out",
            self.taken.clone(),
        );
        registry.register(
            "apiserver_flowcontrol_current_inqueue_requests",
            "Requests that wait for a seat",
            self.queued.clone(),
        );
        registry.register(
            "apiserver_flowcontrol_rejected_requests",
            "Requests that got no seat",
            self.refused.clone(),
        );
    }

    /// A seat for a request, at once or when it is the flow's turn. `flow` is asked for only if there is none.
    pub(crate) async fn take(
        self: &Arc<Self>,
        flow: impl FnOnce() -> Flow,
    ) -> Result<Seat, Refused> {
        let turn = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                self.taken.inc();
                return Ok(Seat(Arc::clone(self)));
            }
            self.queue(&mut state, flow())
        };
        let outcome = match turn {
            Ok(turn) => tokio::time::timeout(PATIENCE, turn).await,
            Err(refused) => return Err(self.refuse(refused)),
        };
        match outcome {
            Ok(Ok(seat)) => Ok(seat),
            // Nobody drops a sender unheard.
            Ok(Err(_)) | Err(_) => Err(self.refuse(Refused::TimedOut)),
        }
    }

    fn queue(&self, state: &mut State, flow: Flow) -> Result<oneshot::Receiver<Seat>, Refused> {
        if state.waiting >= self.waiting {
            self.sweep(state);
        }
        if state.waiting >= self.waiting {
            return Err(Refused::Full);
        }
        if state.queues.get(&flow).map_or(0, VecDeque::len) >= self.queue {
            // Those who went away make room.
            self.sweep(state);
        }
        if state.queues.get(&flow).map_or(0, VecDeque::len) >= self.queue {
            return Err(Refused::QueueFull);
        }
        if !state.queues.contains_key(&flow) {
            state.turns.push_back(flow.clone());
        }
        let queue = state.queues.entry(flow).or_default();
        let (give, turn) = oneshot::channel();
        queue.push_back(give);
        state.waiting += 1;
        self.queued.inc();
        Ok(turn)
    }

    /// Forgets those who no longer wait.
    fn sweep(&self, state: &mut State) {
        let before = state.waiting;
        for queue in state.queues.values_mut() {
            queue.retain(|waiting| !waiting.is_closed());
        }
        let State { queues, turns, .. } = state;
        queues.retain(|_, queue| !queue.is_empty());
        turns.retain(|flow| queues.contains_key(flow));
        state.waiting = state.queues.values().map(VecDeque::len).sum();
        self.queued.dec_by(i64::try_from(before - state.waiting).unwrap_or_default());
    }

    fn refuse(&self, refused: Refused) -> Refused {
        let reason = match refused {
            Refused::QueueFull => "queue-full",
            Refused::Full => "concurrency-limit",
            Refused::TimedOut => "time-out",
        };
        self.refused.get_or_create_owned(&Reason { reason }).inc();
        refused
    }

    /// Gives a seat to whose turn it is, or back.
    fn pass_on(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while let Some(flow) = state.turns.pop_front() {
            let Some(queue) = state.queues.get_mut(&flow) else { continue };
            let next = queue.pop_front();
            let done = queue.is_empty();
            if done {
                state.queues.remove(&flow);
            } else {
                state.turns.push_back(flow);
            }
            let Some(next) = next else { continue };
            state.waiting -= 1;
            self.queued.dec();
            if next.is_closed() {
                continue;
            }
            // Sent outside the lock: a seat that nobody takes comes back here.
            drop(state);
            drop(next.send(Seat(Arc::clone(self))));
            return;
        }
        state.free += 1;
        self.taken.dec();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::BoxFuture};

    use super::*;

    fn flow(user: &str) -> Flow {
        Flow { user: user.to_owned(), namespace: String::new() }
    }

    /// Asks for a seat and waits in the queue, if there is none.
    fn ask(seats: &Arc<Seats>, user: &'static str) -> BoxFuture<'static, Result<Seat, Refused>> {
        let seats = Arc::clone(seats);
        let mut asked = async move { seats.take(|| flow(user)).await }.boxed();
        match (&mut asked).now_or_never() {
            Some(outcome) => std::future::ready(outcome).boxed(),
            None => asked,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_many_waits_behind_their_own() {
        let seats = Seats::new(2);
        let held = [ask(&seats, "noisy").await.unwrap(), ask(&seats, "noisy").await.unwrap()];
        let mut noisy = [ask(&seats, "noisy"), ask(&seats, "noisy")];
        let quiet = ask(&seats, "quiet");
        assert_eq!(ask(&seats, "noisy").await.unwrap_err(), Refused::QueueFull);
        let [one, two] = held;
        drop(one);
        let first = (&mut noisy[0]).await.unwrap();
        drop(two);
        // The second seat is not for the second of the same flow.
        let second = quiet.now_or_never().expect("it is its turn").unwrap();
        assert!((&mut noisy[1]).now_or_never().is_none());
        drop((first, second));
        drop((&mut noisy[1]).await.unwrap());
        assert_eq!(seats.state.lock().free, 2);
        assert_eq!((seats.taken.get(), seats.queued.get()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_goes_away_takes_no_seat() {
        let seats = Seats::new(1);
        let held = ask(&seats, "a").await.unwrap();
        let late = ask(&seats, "b");
        drop(ask(&seats, "c"));
        assert_eq!(late.await.unwrap_err(), Refused::TimedOut);
        drop(held);
        assert_eq!(seats.state.lock().free, 1);
        let held = ask(&seats, "a").await.unwrap();
        let waiting: Vec<_> =
            ["b", "c", "d", "e", "f", "g", "h", "i"].map(|user| ask(&seats, user)).into();
        assert_eq!(ask(&seats, "j").await.unwrap_err(), Refused::Full);
        drop(waiting);
        let next = ask(&seats, "j");
        drop(held);
        drop(next.await.unwrap());
        assert_eq!((seats.taken.get(), seats.queued.get()), (0, 0));
    }
}
