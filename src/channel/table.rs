//! The subscription table of one shard: which of its connections are in which channel.
//!
//! Owned by the shard's floor; a member is a connection's slot. Joining and leaving are O(1): a channel knows its
//! members, a member its channels, and each entry knows where its counterpart stands. The first two of either
//! kind are stored in place, so that a session in its own `user:` channel and one shared channel allocates
//! nothing but the channel's name.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::{Interest, name};

/// A connection's slot on its shard.
pub type Member = u32;

/// A channel of this shard, valid while it has members.
pub type ChannelId = u32;

/// What came of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    New(ChannelId),
    Already(ChannelId),
}

pub struct Table {
    shard: usize,
    interest: Arc<Interest>,
    /// Ids by the hash of the name.
    index: HashTable<ChannelId>,
    channels: Slab<Channel>,
    /// By member.
    subscriptions: Vec<Subscriptions>,
    memberships: usize,
    /// The same by kind, in the order of [`name::KINDS`]; last in it are all others.
    by_kind: [usize; name::KINDS.len() + 1],
    /// Walks under way, one per channel at most. Empty but while a message goes to many members.
    walks: HashMap<ChannelId, UnderWay>,
    walks_begun: u64,
    /// Users of which this shard took the first and not yet gave the last channel: summed over shards, all users.
    users: i64,
}

/// A walk over the members of a channel that goes on while members join and leave: who stays is visited exactly
/// once, who joins meanwhile is not.
#[derive(Debug, PartialEq, Eq)]
pub struct Walk {
    channel: ChannelId,
    number: u64,
}

/// Goes from the last member to the first, so that those who join, at the end, are behind it.
struct UnderWay {
    number: u64,
    /// Members at positions below are still to be visited.
    left: u32,
}

type Subscriptions = SmallVec<[Subscription; 2]>;

struct Channel {
    name: Box<str>,
    members: SmallVec<[Membership; 2]>,
}

/// A member as its channel sees it.
#[derive(Clone, Copy)]
struct Membership {
    member: Member,
    /// Where the channel stands in the member's subscriptions.
    back: u32,
}

/// A channel as its member sees it.
#[derive(Clone, Copy)]
struct Subscription {
    channel: ChannelId,
    /// Where the member stands in the channel's members.
    position: u32,
}

const _: () = assert!(size_of::<Channel>() == 40 && size_of::<Subscriptions>() == 24);

impl Table {
    /// Reserves address space for `members`, so that growing leaves nothing behind; memory is used as they come.
    pub fn new(shard: usize, interest: Arc<Interest>, members: usize) -> Self {
        Self {
            shard,
            interest,
            index: HashTable::new(),
            channels: Slab::with_capacity(members),
            subscriptions: Vec::with_capacity(members),
            memberships: 0,
            by_kind: Default::default(),
            walks: HashMap::new(),
            walks_begun: 0,
            users: 0,
        }
    }

    /// Puts `member` into the channel.
    pub fn join(&mut self, member: Member, name: &str) -> Joined {
        self.join_within(member, name, usize::MAX).expect("no bound, no refusal")
    }

    /// The same unless the member is in so many channels already: then `None`.
    pub fn join_within(&mut self, member: Member, name: &str, channels_max: usize) -> Option<Joined> {
        let hash = self.interest.hash(name);
        let found = self.find(hash, name);
        if let Some(channel) = found.filter(|channel| self.is_in(member, *channel)) {
            return Some(Joined::Already(channel));
        }
        if self.of(member).len() >= channels_max {
            return None;
        }
        let channel = found.unwrap_or_else(|| self.open(hash, name));
        let member_index = member as usize;
        if self.subscriptions.len() <= member_index {
            self.subscriptions.resize_with(member_index + 1, Subscriptions::new);
        }
        let subscriptions = &mut self.subscriptions[member_index];
        let Channel { name, members } = &mut self.channels[channel as usize];
        self.by_kind[name::kind_of(name)] += 1;
        subscriptions.push(Subscription { channel, position: members.len() as u32 });
        let at = subscriptions.len() - 1;
        members.push(Membership { member, back: at as u32 });
        self.memberships += 1;
        debug_assert!(self.is_mutual(member, at), "both know where the other one stands");
        Some(Joined::New(channel))
    }

    /// Whether `member` is in the channel.
    pub fn is_member(&self, member: Member, name: &str) -> bool {
        let found = self.find(self.interest.hash(name), name);
        found.is_some_and(|channel| self.of(member).iter().any(|s| s.channel == channel))
    }

    /// Takes `member` out of the channel; false when it was not in it.
    pub fn leave(&mut self, member: Member, name: &str) -> bool {
        let found = self.find(self.interest.hash(name), name);
        let position = found.and_then(|channel| self.of(member).iter().position(|s| s.channel == channel));
        if let Some(position) = position {
            self.remove(member, position);
        }
        position.is_some()
    }

    /// Takes `member` out of all its channels.
    pub fn leave_all(&mut self, member: Member) {
        for last in (0..self.of(member).len()).rev() {
            self.remove(member, last);
        }
        if let Some(subscriptions) = self.subscriptions.get_mut(member as usize) {
            *subscriptions = Subscriptions::new();
        }
        debug_assert!(self.of(member).is_empty(), "who has left everything is in nothing");
    }

    /// The members of a channel, by its name and the hash that [`Interest::hash`] gave for it.
    pub fn members(&self, hash: u64, name: &str) -> impl ExactSizeIterator<Item = Member> {
        let members = self.find(hash, name).map_or(&[][..], |id| &self.channels[id as usize].members);
        members.iter().map(|m| m.member)
    }

    /// The members of a channel, by its name alone.
    pub fn members_of(&self, name: &str) -> impl ExactSizeIterator<Item = Member> {
        self.members(self.interest.hash(name), name)
    }

    /// A channel that has members here, by its hash alone.
    pub fn find_by_hash(&self, hash: u64) -> Option<ChannelId> {
        self.index.find(hash, |&id| self.interest.hash(self.name(id)) == hash).copied()
    }

    /// The members of a channel that has some.
    pub fn members_in(&self, channel: ChannelId) -> impl ExactSizeIterator<Item = Member> {
        self.channels[channel as usize].members.iter().map(|m| m.member)
    }

    /// Whether `member` is in the channel. Looks through the member's own channels, which are not many.
    pub fn is_in(&self, member: Member, channel: ChannelId) -> bool {
        self.of(member).iter().any(|s| s.channel == channel)
    }

    /// Begins a walk over the members of a channel, of which none may be under way.
    pub fn begin_walk(&mut self, hash: u64, name: &str) -> Option<Walk> {
        let channel = self.find(hash, name)?;
        self.walks_begun += 1;
        let under_way =
            UnderWay { number: self.walks_begun, left: self.channels[channel as usize].members.len() as u32 };
        let before = self.walks.insert(channel, under_way);
        debug_assert!(before.is_none(), "one walk per channel");
        Some(Walk { channel, number: self.walks_begun })
    }

    /// Visits the next members, `count` at most. False when that was the last one: the walk is over.
    pub fn go_on_walking(&mut self, walk: &Walk, count: usize, mut visit: impl FnMut(&Self, Member)) -> bool {
        // A channel that lost its last member took its walk along, and another one may bear its id now.
        let found = self.walks.get_mut(&walk.channel).filter(|under_way| under_way.number == walk.number);
        let Some(under_way) = found else { return false };
        let end = under_way.left as usize;
        let begin = end.saturating_sub(count);
        under_way.left = begin as u32;
        let members = &self.channels[walk.channel as usize].members;
        debug_assert!(end <= members.len(), "a walk has no more before it than there are");
        members[begin..end].iter().rev().for_each(|membership| visit(self, membership.member));
        if begin == 0 {
            self.walks.remove(&walk.channel);
        }
        begin > 0
    }

    /// The channels of a member, in no order.
    pub fn channels_of(&self, member: Member) -> impl ExactSizeIterator<Item = &str> {
        self.of(member).iter().map(|s| self.name(s.channel))
    }

    /// The name of a channel that has members.
    pub fn name(&self, channel: ChannelId) -> &str {
        &self.channels[channel as usize].name
    }

    /// The channels in some of the [`Table::places`], each with the number of its members.
    pub fn channels_at(&self, places: Range<usize>) -> impl Iterator<Item = (&str, usize)> {
        places.filter_map(|place| self.channels.get(place)).map(|c| (&*c.name, c.members.len()))
    }

    /// How many places for channels there are; many of them may be empty.
    pub fn places(&self) -> usize {
        self.channels.capacity()
    }

    /// Channels that have members.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Subscriptions of all members.
    pub fn membership_count(&self) -> usize {
        self.memberships
    }

    /// The same by kind, in the order of [`name::KINDS`]; last in it are all others.
    pub fn memberships_by_kind(&self) -> &[usize] {
        &self.by_kind
    }

    /// This shard's share of the users: may be negative, the sum over all shards is the number of connected users.
    pub fn user_share(&self) -> i64 {
        self.users
    }

    fn of(&self, member: Member) -> &[Subscription] {
        self.subscriptions.get(member as usize).map_or(&[], |s| s.as_slice())
    }

    fn find(&self, hash: u64, name: &str) -> Option<ChannelId> {
        self.index.find(hash, |&id| *self.channels[id as usize].name == *name).copied()
    }

    fn open(&mut self, hash: u64, name: &str) -> ChannelId {
        debug_assert!(self.find(hash, name).is_none(), "a name is one channel");
        let id = self.channels.insert(Channel { name: name.into(), members: SmallVec::new() }) as ChannelId;
        let (channels, interest) = (&self.channels, &self.interest);
        self.index.insert_unique(hash, id, |&id| interest.hash(&channels[id as usize].name));
        if self.interest.add(hash, self.shard) && name.starts_with(name::USER_PREFIX) {
            self.users += 1;
        }
        id
    }

    fn close(&mut self, id: ChannelId) {
        let channel = self.channels.remove(id as usize);
        debug_assert!(channel.members.is_empty(), "a channel goes with its last member");
        self.walks.remove(&id);
        let hash = self.interest.hash(&channel.name);
        let entry = self.index.find_entry(hash, |&other| other == id);
        debug_assert!(entry.is_ok(), "every channel is in the index");
        if let Ok(entry) = entry {
            entry.remove();
        }
        if self.interest.remove(hash, self.shard) && channel.name.starts_with(name::USER_PREFIX) {
            self.users -= 1;
        }
    }

    /// Removes the subscription at `at` in the member's list and its counterpart in the channel.
    fn remove(&mut self, member: Member, at: usize) {
        debug_assert!(self.is_mutual(member, at), "both know where the other one stands");
        let Subscription { channel, position } = self.subscriptions[member as usize].swap_remove(at);
        if let Some(moved) = self.subscriptions[member as usize].get(at).copied() {
            self.channels[moved.channel as usize].members[moved.position as usize].back = at as u32;
            debug_assert!(self.is_mutual(member, at), "both know where the other one stands");
        }
        let position = self.behind_the_walk(channel, position);
        let Channel { name, members } = &mut self.channels[channel as usize];
        self.by_kind[name::kind_of(name)] -= 1;
        members.swap_remove(position as usize);
        self.moved_to(channel, position);
        self.memberships -= 1;
        if self.channels[channel as usize].members.is_empty() {
            self.close(channel);
        }
    }

    /// Makes the member at `position` one that a walk has passed, if there is a walk, and says where it stands now. The
    /// last member, which has been passed, may then take its place.
    fn behind_the_walk(&mut self, channel: ChannelId, position: u32) -> u32 {
        if self.walks.is_empty() {
            return position;
        }
        let Some(under_way) = self.walks.get_mut(&channel).filter(|under_way| position < under_way.left) else {
            return position;
        };
        under_way.left -= 1;
        let boundary = under_way.left;
        self.channels[channel as usize].members.swap(position as usize, boundary as usize);
        if position != boundary {
            self.moved_to(channel, position);
        }
        boundary
    }

    /// Tells the member that stands at `position` now, if any, that it does.
    fn moved_to(&mut self, channel: ChannelId, position: u32) {
        if let Some(moved) = self.channels[channel as usize].members.get(position as usize).copied() {
            self.subscriptions[moved.member as usize][moved.back as usize].position = position;
            debug_assert!(self.is_mutual(moved.member, moved.back as usize), "both know where the other one stands");
        }
    }

    /// Whether the subscription at `at` in the member's list and its counterpart in the channel know each other.
    fn is_mutual(&self, member: Member, at: usize) -> bool {
        let Subscription { channel, position } = self.of(member)[at];
        let counterpart = self.channels[channel as usize].members[position as usize];
        counterpart.member == member && counterpart.back as usize == at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn table(shard: usize, interest: &Arc<Interest>) -> Table {
        Table::new(shard, interest.clone(), 0)
    }

    fn members(table: &Table, name: &str) -> BTreeSet<Member> {
        table.members(table.interest.hash(name), name).collect()
    }

    #[test]
    fn a_member_joins_only_so_many_channels() {
        let mut table = table(0, &Arc::default());
        assert!(table.join_within(7, "a", 2).is_some() && table.join_within(7, "b", 2).is_some());
        assert_eq!(table.join_within(7, "c", 2), None);
        assert!(matches!(table.join_within(7, "a", 2), Some(Joined::Already(_))));
        assert_eq!(table.channel_count(), 2, "what was refused leaves nothing behind");
    }

    #[test]
    fn a_walk_that_lost_its_channel_does_not_go_on_in_another() {
        let mut table = table(0, &Arc::default());
        let hash = |table: &Table, name: &str| table.interest.hash(name);
        table.join(1, "old");
        let old = table.begin_walk(hash(&table, "old"), "old").expect("it has a member");
        table.leave_all(1);
        table.join(2, "new");
        let new = table.begin_walk(hash(&table, "new"), "new").expect("it has a member");
        assert_eq!(old.channel, new.channel, "the id is used again");
        let mut visited = Vec::new();
        assert!(!table.go_on_walking(&old, 10, |_, member| visited.push(member)));
        assert!(!table.go_on_walking(&new, 10, |_, member| visited.push(member)));
        assert_eq!(visited, [2]);
    }

    proptest! {
        #[test]
        fn a_walk_visits_who_stays_exactly_once(
            members in 1u32..40,
            steps in prop::collection::vec((0u8..4, 0u32..50, 1usize..6), 0..80),
        ) {
            let mut table = table(0, &Arc::default());
            (0..members).for_each(|member| _ = table.join(member, "a"));
            let mut stayed: BTreeSet<Member> = (0..members).collect();
            let walk = table.begin_walk(table.interest.hash("a"), "a").expect("it has members");
            let (mut visited, mut goes_on) = (Vec::new(), true);
            for (step, member, count) in steps {
                match step {
                    0 => _ = table.join(member, "a"),
                    1 => {
                        table.leave(member, "a");
                        stayed.remove(&member);
                    }
                    _ if goes_on => goes_on = table.go_on_walking(&walk, count, |_, member| visited.push(member)),
                    _ => {}
                }
            }
            while goes_on {
                goes_on = table.go_on_walking(&walk, 7, |_, member| visited.push(member));
            }
            let once: BTreeSet<Member> = visited.iter().copied().collect();
            prop_assert!(stayed.is_subset(&once));
            // Who left and came back may be visited again: it is another membership.
            prop_assert!(stayed.iter().all(|member| visited.iter().filter(|v| *v == member).count() == 1));
            prop_assert!(table.walks.is_empty());
        }
    }

    #[test]
    fn joining_twice_is_one_subscription() {
        let mut table = table(0, &Arc::default());
        let Joined::New(id) = table.join(7, "conv:1") else { panic!("first join") };
        assert_eq!(table.join(7, "conv:1"), Joined::Already(id));
        assert_eq!(members(&table, "conv:1"), [7].into());
        assert_eq!(table.membership_count(), 1);
    }

    #[test]
    fn a_shard_shows_interest_only_while_it_has_members() {
        let interest = Arc::<Interest>::default();
        let mut table = table(5, &interest);
        let hash = interest.hash("conv:1");
        table.join(1, "conv:1");
        table.join(2, "conv:1");
        assert!(interest.shards(hash).contains(5));
        table.leave_all(1);
        assert!(interest.shards(hash).contains(5));
        table.leave_all(2);
        assert!(interest.shards(hash).is_empty());
        assert_eq!(table.channel_count(), 0);
    }

    #[test]
    fn a_user_on_two_shards_counts_once() {
        let interest = Arc::<Interest>::default();
        let (mut a, mut b) = (table(0, &interest), table(1, &interest));
        a.join(0, "user:1");
        b.join(0, "user:1");
        b.join(1, "user:2");
        b.join(1, "conv:1");
        assert_eq!(a.user_share() + b.user_share(), 2);
        a.leave_all(0);
        assert_eq!(a.user_share() + b.user_share(), 2);
        b.leave_all(0);
        assert_eq!(a.user_share() + b.user_share(), 1);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map_of_sets(steps in prop::collection::vec((0u32..8, 0u8..6, 0u8..4), 0..300)) {
            let mut table = table(0, &Arc::default());
            let mut model = BTreeMap::<String, BTreeSet<Member>>::new();
            for (member, channel, step) in steps {
                let name = format!("conv:{channel}");
                match step {
                    0 | 1 => {
                        let new = model.entry(name.clone()).or_default().insert(member);
                        prop_assert_eq!(matches!(table.join(member, &name), Joined::New(_)), new);
                    }
                    2 => {
                        let was = model.get_mut(&name).is_some_and(|m| m.remove(&member));
                        prop_assert_eq!(table.leave(member, &name), was);
                    }
                    _ => {
                        model.values_mut().for_each(|m| { m.remove(&member); });
                        table.leave_all(member);
                    }
                }
                model.retain(|_, m| !m.is_empty());
                for (name, expected) in &model {
                    prop_assert_eq!(&members(&table, name), expected);
                }
                for member in 0..8 {
                    let expected: BTreeSet<&str> =
                        model.iter().filter(|(_, m)| m.contains(&member)).map(|(n, _)| n.as_str()).collect();
                    prop_assert_eq!(table.channels_of(member).collect::<BTreeSet<_>>(), expected);
                }
                prop_assert_eq!(table.channel_count(), model.len());
                prop_assert_eq!(table.memberships_by_kind()[0], model.values().map(BTreeSet::len).sum::<usize>());
            }
        }
    }
}
