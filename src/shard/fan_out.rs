//! Publications on their way to the members of their channels.
//!
//! A channel of a few members is served at once. A larger one gets a fan-out: what is published to it gathers here, and is brought
//! to the members some hundreds at a time, so that no channel holds up its shard. What gathered while the members were being
//! visited goes to them next, joined into one run of bytes: the more there is to send, the fewer sends a message costs.
//!
//! Invariant: of a channel one batch at a time is under way, so the members get everything in the order of its publication.

use std::collections::VecDeque;

use hashbrown::HashTable;
use slab::Slab;

use crate::bus::{Answer, Channel, Filter, Publication};
use crate::channel::table::Walk;

use super::frame::{Frame, LocalFrame, Run};
use super::io::Slot;

/// Frames are joined up to this size; a larger one goes by itself and is never copied. A quarter of what a slow connection may
/// leave unread by default, so that the join is not what makes it too slow.
const BATCH_BYTES_MAX: usize = 16 * 1024;

/// What may gather in all fan-outs of a shard before it takes nothing more from its lane.
const GATHERED_MAX: usize = 8192;
const GATHERED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Names a fan-out while it has something to do.
pub type FanOutId = usize;

#[derive(Default)]
pub struct FanOuts {
    /// By the hash of the channel's name.
    index: HashTable<FanOutId>,
    fan_outs: Slab<FanOut>,
    /// Each once, in the order in which they go on.
    order: VecDeque<FanOutId>,
    gathered: usize,
    gathered_bytes: usize,
}

struct FanOut {
    channel: Channel,
    gathered: VecDeque<Publication>,
    batch: Option<Batch>,
}

/// What the members of a channel are getting now.
pub struct Batch {
    pub frame: LocalFrame,
    pub reach: Reach,
    pub filter: Option<std::sync::Arc<Filter>>,
    pub recipients: usize,
    answers: Vec<Answer<usize>>,
}

/// Whom a batch has still to be brought to.
pub enum Reach {
    /// `None`: nobody was there any more.
    Members(Option<Walk>),
    /// Every session in a slot below.
    Everybody(Slot),
}

impl FanOuts {
    /// Nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.fan_outs.is_empty()
    }

    /// Whether more may gather.
    pub fn has_room(&self) -> bool {
        self.gathered < GATHERED_MAX && self.gathered_bytes < GATHERED_BYTES_MAX
    }

    /// Whether a fan-out of this channel is under way, which nothing may overtake.
    pub fn has(&self, channel: &Channel) -> bool {
        !self.fan_outs.is_empty() && self.find(channel).is_some()
    }

    /// Takes a publication, which goes behind what has gathered for its channel.
    pub fn gather(&mut self, publication: Publication) {
        self.gathered += 1;
        self.gathered_bytes += publication.frame.bytes.len();
        let id = self.find(&publication.channel).unwrap_or_else(|| self.open(publication.channel.clone()));
        self.fan_outs[id].gathered.push_back(publication);
    }

    /// The fan-out whose turn it is, to be given back with [`FanOuts::put_back`].
    pub fn next(&mut self) -> Option<FanOutId> {
        self.order.pop_front()
    }

    pub fn channel(&self, id: FanOutId) -> &Channel {
        &self.fan_outs[id].channel
    }

    pub fn batch(&mut self, id: FanOutId) -> &mut Option<Batch> {
        &mut self.fan_outs[id].batch
    }

    /// Makes the next batch of what has gathered: all that can be joined with the first, or that one alone.
    pub fn begin(&mut self, id: FanOutId, reach: Reach) {
        let fan_out = &mut self.fan_outs[id];
        let mut frames: Vec<Frame> = Vec::new();
        let (mut bytes, mut filter, mut answers) = (0, None, Vec::new());
        while let Some(next) = fan_out.gathered.front() {
            let joins = filter.is_none() && next.filter.is_none() && bytes + next.frame.bytes.len() <= BATCH_BYTES_MAX;
            if !frames.is_empty() && !joins {
                break;
            }
            let Some(publication) = fan_out.gathered.pop_front() else { break };
            bytes += publication.frame.bytes.len();
            filter = publication.filter;
            answers.extend(publication.answer);
            frames.push(publication.frame);
        }
        self.gathered -= frames.len();
        self.gathered_bytes -= bytes;
        fan_out.batch = Some(Batch { frame: Run::join(&frames), reach, filter, recipients: 0, answers });
    }

    /// The batch has been brought to everybody: tells those who asked.
    pub fn finish(&mut self, id: FanOutId) {
        if let Some(Batch { answers, recipients, .. }) = self.fan_outs[id].batch.take() {
            answers.iter().for_each(|answer| answer(recipients));
        }
    }

    /// Gives back what [`FanOuts::next`] gave. False when the fan-out had nothing more to do and is gone.
    pub fn put_back(&mut self, id: FanOutId) -> bool {
        let fan_out = &self.fan_outs[id];
        let goes_on = fan_out.batch.is_some() || !fan_out.gathered.is_empty();
        if goes_on {
            self.order.push_back(id);
        } else {
            let hash = fan_out.channel.hash;
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
            self.fan_outs.remove(id);
        }
        goes_on
    }

    fn find(&self, channel: &Channel) -> Option<FanOutId> {
        self.index.find(channel.hash, |id| self.fan_outs[*id].channel.name == channel.name).copied()
    }

    fn open(&mut self, channel: Channel) -> FanOutId {
        let hash = channel.hash;
        let id = self.fan_outs.insert(FanOut { channel, gathered: VecDeque::new(), batch: None });
        let fan_outs = &self.fan_outs;
        self.index.insert_unique(hash, id, |id| fan_outs[*id].channel.hash);
        self.order.push_back(id);
        id
    }
}
