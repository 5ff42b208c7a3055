//! All workers together: starts them, gives them orders, sums up what they count.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded, unbounded};
use ringway::lane::bell::Bell;
use ringway::shard::io::Shape;

use crate::addresses::Addresses;
use crate::client::cast::Cast;
use crate::limits::Trouble;
use crate::publish::under_way::UnderWay;
use crate::worker::tally::{Gauge, Gauges, Tally};
use crate::worker::{Assignment, Order, Ramp, Worker, traffic};

/// Handshakes under way at once in the whole fleet, when the ramp is not paced.
const IN_PROGRESS_MAX: u32 = 2048;

/// What the fleet is made of.
pub struct Muster {
    pub cast: Arc<Cast>,
    pub target: SocketAddr,
    pub connections: u32,
    /// Threads, beside the one of those that are `apart`.
    pub workers: u32,
    /// So many of the first connections have a thread for themselves.
    pub apart: u32,
    /// Connections that one ring of a thread takes.
    pub per_ring: u32,
    pub addresses: Option<Addresses>,
    pub closes_by_reset: bool,
    pub buffers: Shape,
}

pub struct Fleet {
    members: Vec<Member>,
}

struct Member {
    orders: Sender<Order>,
    bell: Bell,
    gauges: Arc<Gauges>,
    thread: Option<JoinHandle<()>>,
    /// Kernel's id of the thread, for its CPU time.
    thread_id: i32,
}

impl Fleet {
    pub fn start(muster: &Muster) -> Result<Self, Trouble> {
        let mut fleet = Self { members: Vec::new() };
        for (name, share) in shares(muster).into_iter().enumerate() {
            fleet.members.push(Member::start(muster, name, share)?);
        }
        Ok(fleet)
    }

    /// Opens everything that is not open; `per_s` connects a second in the whole, or as fast as handshakes complete.
    pub fn open(&self, per_s: Option<f64>) {
        let workers = self.members.len() as u32;
        let ramp = Ramp {
            per_s: per_s.map(|per_s| per_s / f64::from(workers)),
            in_progress_max: (IN_PROGRESS_MAX / workers).max(8),
        };
        self.order(|_| Order::Open(ramp));
    }

    pub fn drop_all(&self) {
        self.order(|_| Order::Drop);
    }

    pub fn follow(&self, stream: usize, next: u32) {
        self.order(|_| Order::Follow { stream, next });
    }

    /// Notes from now on who has which of these messages, each channel's first one being number 1.
    pub fn keep_books(&self, under_way: &Arc<UnderWay>) {
        let (ready, all_ready) = bounded(0);
        self.order(|_| Order::KeepBooks { under_way: under_way.clone(), ready: ready.clone() });
        drop(ready);
        // Ends when the last worker has dropped its end.
        let _ = all_ready.recv();
    }

    /// Sends as planned. The workers' connections are interleaved, and so are the times at which they send.
    pub fn send(&self, plan: &traffic::Plan) {
        let workers = self.members.len() as u64;
        self.order(|worker| {
            let mut plan = plan.clone();
            match &mut plan.pace {
                traffic::Pace::Interval { us } => {
                    plan.start_us += *us / self.connections_hint() * worker as u64 / workers
                }
                traffic::Pace::InFlight { count } => *count = share(*count, workers as u32, worker as u32),
            }
            Order::Send(plan)
        });
    }

    /// Waits until all that is planned has been sent and the gauges show it: a worker that has no core for a while
    /// sends late, and shows later still.
    pub fn finish_sending(&self) {
        let (done, all_done) = bounded(0);
        self.order(|_| Order::Finish { done: done.clone() });
        drop(done);
        let _ = all_done.recv();
    }

    pub fn hush(&self) {
        self.order(|_| Order::Hush);
    }

    /// What all have counted since they were asked last.
    pub fn report(&self) -> Tally {
        let (to, from) = bounded(self.members.len());
        self.order(|_| Order::Report(to.clone()));
        drop(to);
        from.iter().fold(Tally::default(), |mut sum, tally| {
            sum.add(&tally);
            sum
        })
    }

    pub fn gauge(&self) -> Gauge {
        let mut sum = Gauge::default();
        self.members.iter().for_each(|member| sum.add(&member.gauges));
        sum
    }

    /// What stops the run, if anything does.
    pub fn trouble(&self) -> Option<Trouble> {
        self.members.iter().find_map(|member| member.gauges.trouble.get().cloned())
    }

    pub fn thread_ids(&self) -> Vec<i32> {
        self.members.iter().map(|member| member.thread_id).collect()
    }

    fn connections_hint(&self) -> u64 {
        self.gauge().held.max(1)
    }

    fn order(&self, order: impl Fn(usize) -> Order) {
        for (i, member) in self.members.iter().enumerate() {
            // A worker that has ended has panicked, which was told already.
            let _ = member.orders.send(order(i));
            member.bell.wake();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.order(|_| Order::End);
        for member in &mut self.members {
            if let Some(thread) = member.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

impl Member {
    /// Starts a thread for these connections.
    fn start(muster: &Muster, name: usize, Share { first, count }: Share) -> Result<Self, Trouble> {
        let (orders, taken) = unbounded();
        let bell = Bell::new()?;
        let gauges = Arc::<Gauges>::default();
        let assignment = Assignment {
            first,
            count,
            per_ring: muster.per_ring,
            cast: muster.cast.clone(),
            target: muster.target,
            addresses: muster.addresses,
            closes_by_reset: muster.closes_by_reset,
            buffers: muster.buffers,
            orders: taken,
            gauges: gauges.clone(),
            bell: bell.clone(),
        };
        let (tell, told) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("flood-{name}")).spawn(move || {
            let thread_id = nix::unistd::gettid().as_raw();
            match Worker::new(assignment) {
                Ok(worker) => {
                    let _ = tell.send(Ok(thread_id));
                    worker.run();
                }
                Err(trouble) => drop(tell.send(Err(trouble))),
            }
        })?;
        let thread_id = told.recv().unwrap_or_else(|_| Err(Trouble::new("a worker ended while it started")))?;
        Ok(Self { orders, bell, gauges, thread: Some(thread), thread_id })
    }
}

/// Consecutive connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    first: u32,
    count: u32,
}

/// What each thread gets.
fn shares(muster: &Muster) -> Vec<Share> {
    let apart = muster.apart.min(muster.connections);
    let mut shares = vec![Share { first: 0, count: apart }];
    let rest = muster.connections - apart;
    let workers = muster.workers.clamp(1, rest.max(1));
    let mut first = apart;
    for worker in 0..workers {
        let count = share(rest, workers, worker);
        shares.push(Share { first, count });
        first += count;
    }
    shares.retain(|share| share.count > 0);
    shares
}

/// The share of part `index` of `parts` in `whole`: all shares together are the whole, and differ by one at most.
fn share(whole: u32, parts: u32, index: u32) -> u32 {
    whole / parts + u32::from(index < whole % parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cast::Troupe;

    #[test]
    fn every_connection_is_on_one_thread_and_those_apart_have_their_own() {
        let alike = Troupe::Even { groups: 1 };
        for (connections, apart, workers) in [(1, 0, 4), (50_000, 0, 2), (101_000, 1_000, 2), (5, 9, 1), (7, 3, 1)] {
            let target = "127.0.0.1:1".parse().unwrap();
            let cast = Arc::new(Cast::of(alike));
            let buffers = Shape::SHARD;
            let (addresses, closes_by_reset, per_ring) = (None, false, 19_000);
            let muster =
                Muster { cast, target, connections, workers, apart, per_ring, addresses, closes_by_reset, buffers };
            let shares = shares(&muster);
            let ends =
                shares.iter().scan(0, |end, part| Some((std::mem::replace(end, part.first + part.count), part.first)));
            assert!(ends.into_iter().all(|(end, first)| end == first), "{shares:?}");
            assert_eq!(shares.iter().map(|part| part.count).sum::<u32>(), connections);
            assert!(shares.len() as u32 <= workers + u32::from(apart > 0));
            assert!(apart == 0 || shares[0] == Share { first: 0, count: apart.min(connections) });
        }
    }

    #[test]
    fn shares_differ_by_one_at_most_and_add_up() {
        for (whole, parts) in [(100_000, 6), (7, 3), (2, 4), (1_000_000, 53)] {
            let shares: Vec<u32> = (0..parts).map(|i| share(whole, parts, i)).collect();
            assert_eq!(shares.iter().sum::<u32>(), whole);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
