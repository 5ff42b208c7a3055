//! One channel: who is online there, and what its subscribers were told of that.
//!
//! Up to so many users each arrival and departure is told, above only the number of users. A channel goes over to
//! numbers at once and comes back when it has shrunk to a half, so that one user who comes and goes does not turn it
//! about. Of a user who comes and goes more often than the [pace](super::pace) allows the others are told later.

use super::TICKS_PER_S;
use super::members::{Member, Members};
use super::pace::Pace;

/// Deliveries per second that the number of users may cost one channel: everybody in it is told, so in a larger one it
/// is told less often.
const COUNTS_PER_S: u64 = 10_000;

/// The same for a number that differs by less than a hundredth from the one that was told: single users who come and
/// go.
const SMALL_COUNTS_PER_S: u64 = COUNTS_PER_S / 100;

pub struct Roster {
    name: Box<str>,
    members: Members,
    online: u32,
    /// It stands in the queue of what is to be told.
    waits: bool,
    told: Told,
}

/// What subscribers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Each user: the members bear what.
    Users,
    /// How many there are, if that has been told yet, and at which tick.
    Count { told: Option<u32>, told_at: u32 },
}

/// What the subscribers of one channel are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub channel: String,
    pub changes: Vec<Change>,
    /// Users who are there to be told.
    pub online: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Online(Box<str>),
    Offline(Box<str>),
    /// So many users are online now.
    Count(usize),
}

/// Who is online in a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In no order, and not all where there are many.
    pub users: Vec<Box<str>>,
    pub count: usize,
}

impl Roster {
    pub fn new(name: &str) -> Box<Self> {
        Box::new(Self { name: name.into(), members: Members::default(), online: 0, waits: false, told: Told::Users })
    }

    pub fn online(&self) -> usize {
        self.online as usize
    }

    /// When his grace would have ended, if he was leaving.
    pub fn enter(&mut self, hash: u32, user: &str) -> Option<u32> {
        let member = self.members.find_or_add(hash, user);
        self.online += u32::from(!member.is_online());
        let was_leaving = member.is_leaving();
        member.sessions += 1;
        was_leaving.then(|| std::mem::take(&mut member.ends_at))
    }

    pub fn leave(&mut self, hash: u32, user: &str) {
        let Some(member) = self.members.find(hash, |member| *member.user == *user) else { return };
        debug_assert!(member.sessions > 0, "only who is there leaves");
        if member.sessions > 1 {
            member.sessions -= 1;
        } else {
            self.depart(hash, |member| *member.user == *user);
        }
    }

    /// A connection has ended whose grace ends at this tick. The tick until which the user is online, if it was his
    /// last one: it may be put off.
    pub fn vanish(&mut self, hash: u32, user: &str, ends_at: u32) -> Option<&mut u32> {
        let member = self.members.find(hash, |member| *member.user == *user)?;
        debug_assert!(member.sessions > 0, "only who is there vanishes");
        member.sessions = member.sessions.saturating_sub(1);
        member.ends_at = member.ends_at.max(ends_at);
        (member.sessions == 0).then_some(&mut member.ends_at)
    }

    /// The user with this hash departs whose grace ends at this tick.
    pub fn expire(&mut self, hash: u32, ends_at: u32) {
        self.depart(hash, |member| member.is_leaving() && member.ends_at == ends_at);
    }

    /// Somebody who is online is not any more. He is remembered as long as the others believe he is.
    fn depart(&mut self, hash: u32, is_wanted: impl Fn(&Member) -> bool) {
        let by_user = self.told == Told::Users;
        let Some(member) = self.members.find(hash, &is_wanted) else { return };
        debug_assert!(member.is_online());
        self.online -= 1;
        if by_user && member.told_online {
            (member.sessions, member.ends_at) = (0, 0);
        } else {
            self.members.remove(hash, is_wanted);
        }
    }

    /// Goes over to numbers when there are too many users to tell of each.
    pub fn fit(&mut self, announce_max: usize) {
        if self.told != Told::Users {
            return;
        }
        // Who is gone was announced, and is one of those who may wait when the channel has been told of.
        debug_assert!(self.members.len() <= waiting_max(announce_max) + announce_max + 1);
        if self.online() > announce_max {
            self.members.retain(&mut |member| member.is_online());
            self.told = Told::Count { told: None, told_at: 0 };
        }
    }

    /// Whether the channel has to wait to be told of, which it then does.
    pub fn begin_to_wait(&mut self) -> bool {
        let begins = !self.waits && self.differs();
        self.waits |= begins;
        begins
    }

    /// Among few users whether there is a difference is seen when they are compared.
    fn differs(&self) -> bool {
        match self.told {
            Told::Users => true,
            Told::Count { told, .. } => told != Some(self.online),
        }
    }

    /// Something is left to tell.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Nobody is left, and nothing to tell.
    pub fn is_over(&self) -> bool {
        self.members.is_empty() && !self.waits
    }

    /// How many users [`Roster::tell`] looks at.
    pub fn compared(&self) -> usize {
        match self.told {
            Told::Users => 1 + self.members.len(),
            Told::Count { .. } => 1,
        }
    }

    /// Whether what waits may be told now.
    pub fn is_due(&self, now: u32) -> bool {
        match self.told {
            Told::Users | Told::Count { told: None, .. } => true,
            Told::Count { told: Some(told), told_at } => {
                let is_small = told.abs_diff(self.online) < told.div_ceil(100);
                let per_s = if is_small { SMALL_COUNTS_PER_S } else { COUNTS_PER_S };
                u64::from(told_at) + u64::from(told) * TICKS_PER_S / per_s <= now.into()
            }
        }
    }

    /// What is to be told, which counts as told from now on. What is held back for the sake of the pace goes on
    /// waiting.
    pub fn tell(&mut self, now: u32, announce_max: usize, pace: &mut Pace) -> Option<Changes> {
        debug_assert!(self.is_due(now));
        self.waits = false;
        let changes = match self.told {
            Told::Users => self.tell_users(now, announce_max, pace),
            Told::Count { told, .. } => self.tell_count(told, now, announce_max),
        };
        let told = Changes { channel: self.name.to_string(), changes, online: self.online() };
        Some(told).filter(|told| !told.changes.is_empty())
    }

    fn tell_users(&mut self, now: u32, announce_max: usize, pace: &mut Pace) -> Vec<Change> {
        let (mut changes, mut holds_back, online) = (Vec::new(), false, self.online());
        let may_hold_back = self.members.len() <= waiting_max(announce_max);
        self.members.retain(&mut |member| {
            let is_online = member.is_online();
            if is_online != member.told_online {
                let others = online - usize::from(is_online);
                if !pace.charge(member.hash, others, now) && may_hold_back {
                    holds_back = true;
                    return true;
                }
                member.told_online = is_online;
                let user = member.user.clone();
                changes.push(if is_online { Change::Online(user) } else { Change::Offline(user) });
            }
            is_online
        });
        self.waits = holds_back;
        changes
    }

    /// When there are few enough, the next changes are told by user: who is there now counts as known.
    fn tell_count(&mut self, told: Option<u32>, now: u32, announce_max: usize) -> Vec<Change> {
        if told == Some(self.online) {
            return Vec::new();
        }
        if self.online() <= announce_max / 2 {
            self.members.retain(&mut |member| {
                member.told_online = true;
                true
            });
            self.told = Told::Users;
        } else {
            self.told = Told::Count { told: Some(self.online), told_at: now };
        }
        vec![Change::Count(self.online())]
    }

    pub fn list(&self, list_max: usize) -> Listed {
        let mut users = Vec::with_capacity(self.online().min(list_max));
        self.members.visit(&mut |member| {
            if users.len() < list_max && member.is_online() {
                users.push(member.user.clone());
            }
            users.len() < list_max
        });
        Listed { users, count: self.online() }
    }
}

/// Members up to which a channel in which each is announced remembers who is gone, to tell of him when it is his turn.
fn waiting_max(announce_max: usize) -> usize {
    2 * announce_max
}
