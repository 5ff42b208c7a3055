//! The users of one channel, as a tree over the hash of the user id.
//!
//! A few users are a plain list. A list that has become long is split by the next four bits of the hash, and a branch
//! that has become small is one list again. So finding, adding and removing cost the same with ten users and with a
//! million, and none of them moves more than a leaf: a hash table would copy itself every now and then, while shards
//! wait.

/// Users in one list. What scanning it costs is a comparison of 32 bits each.
const LEAF_MAX: usize = 48;

const BITS: u32 = 4;
const WIDTH: usize = 1 << BITS;

/// Here the bits of the hash are used up: such a leaf grows on, by users whose whole hash is the same.
const DEPTH_MAX: u32 = u32::BITS / BITS;

/// One user of a channel.
pub struct Member {
    pub user: Box<str>,
    pub hash: u32,
    /// In the channel. Without any he is leaving or, while the others do not know it yet, gone.
    pub sessions: u32,
    /// The tick at which the last of his graces ends; 0: none has begun. Without a session, he is online until then.
    pub ends_at: u32,
    /// Whether the others were told last that he is online.
    pub told_online: bool,
}

const _: () = assert!(size_of::<Member>() == 32);

pub enum Members {
    Leaf(Vec<Member>),
    Branch(Box<Branch>),
}

pub struct Branch {
    len: usize,
    parts: [Members; WIDTH],
}

impl Member {
    pub fn is_online(&self) -> bool {
        self.sessions > 0 || self.is_leaving()
    }

    /// Has no session, and counts as online for a while.
    pub fn is_leaving(&self) -> bool {
        self.sessions == 0 && self.ends_at > 0
    }
}

impl Default for Members {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl Members {
    pub fn len(&self) -> usize {
        match self {
            Self::Leaf(list) => list.len(),
            Self::Branch(branch) => branch.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member of this name, who is gone and unknown when there was none.
    pub fn find_or_add(&mut self, hash: u32, user: &str) -> &mut Member {
        self.enter(hash, user, 0).0
    }

    /// A member with this hash that is as wanted.
    pub fn find(&mut self, hash: u32, is_wanted: impl Fn(&Member) -> bool) -> Option<&mut Member> {
        let (mut part, mut depth) = (self, 0);
        loop {
            match part {
                Self::Leaf(list) => return list.iter_mut().find(|member| member.hash == hash && is_wanted(member)),
                Self::Branch(branch) => part = &mut branch.parts[place(hash, depth)],
            }
            depth += 1;
        }
    }

    /// Removes a member with this hash that is as wanted. False when there is none.
    pub fn remove(&mut self, hash: u32, is_wanted: impl Fn(&Member) -> bool) -> bool {
        self.remove_below(hash, 0, &is_wanted)
    }

    /// Removes whom `keep` does not want. Looks at everybody.
    pub fn retain(&mut self, keep: &mut impl FnMut(&mut Member) -> bool) {
        match self {
            Self::Leaf(list) => {
                list.retain_mut(keep);
                list.shrink_to(list.len() + list.len() / 2);
            }
            Self::Branch(branch) => {
                branch.parts.iter_mut().for_each(|part| part.retain(keep));
                branch.len = branch.parts.iter().map(Members::len).sum();
                self.join_if_small();
            }
        }
    }

    /// Shows members to `visit` until it has seen enough and says so with false.
    pub fn visit(&self, visit: &mut impl FnMut(&Member) -> bool) -> bool {
        match self {
            Self::Leaf(list) => list.iter().all(visit),
            Self::Branch(branch) => branch.parts.iter().all(|part| part.visit(visit)),
        }
    }

    /// The member, and whether he is new.
    fn enter(&mut self, hash: u32, user: &str, depth: u32) -> (&mut Member, bool) {
        if depth < DEPTH_MAX && matches!(self, Self::Leaf(list) if list.len() >= LEAF_MAX) {
            self.split(depth);
        }
        match self {
            Self::Leaf(list) => {
                let found = list.iter().position(|member| member.hash == hash && *member.user == *user);
                let at = found.unwrap_or_else(|| {
                    add(list, Member { user: user.into(), hash, sessions: 0, ends_at: 0, told_online: false });
                    list.len() - 1
                });
                (&mut list[at], found.is_none())
            }
            Self::Branch(branch) => {
                let Branch { len, parts } = &mut **branch;
                let (member, is_new) = parts[place(hash, depth)].enter(hash, user, depth + 1);
                *len += usize::from(is_new);
                (member, is_new)
            }
        }
    }

    fn remove_below(&mut self, hash: u32, depth: u32, is_wanted: &impl Fn(&Member) -> bool) -> bool {
        match self {
            Self::Leaf(list) => {
                let found = list.iter().position(|member| member.hash == hash && is_wanted(member));
                found.map(|at| list.swap_remove(at)).is_some()
            }
            Self::Branch(branch) => {
                let removed = branch.parts[place(hash, depth)].remove_below(hash, depth + 1, is_wanted);
                branch.len -= usize::from(removed);
                self.join_if_small();
                removed
            }
        }
    }

    fn split(&mut self, depth: u32) {
        let Self::Leaf(list) = std::mem::take(self) else { return };
        let mut branch = Box::new(Branch { len: list.len(), parts: Default::default() });
        for member in list {
            if let Self::Leaf(part) = &mut branch.parts[place(member.hash, depth)] {
                add(part, member);
            }
        }
        *self = Self::Branch(branch);
    }

    /// Half of a leaf, so that a user who comes and goes does not split and join it each time.
    fn join_if_small(&mut self) {
        let Self::Branch(branch) = self else { return };
        if branch.len <= LEAF_MAX / 2 {
            let mut list = Vec::with_capacity(branch.len);
            branch.parts.iter_mut().for_each(|part| part.move_into(&mut list));
            *self = Self::Leaf(list);
        }
    }

    fn move_into(&mut self, list: &mut Vec<Member>) {
        match self {
            Self::Leaf(own) => list.append(own),
            Self::Branch(branch) => branch.parts.iter_mut().for_each(|part| part.move_into(list)),
        }
    }
}

/// Grows by a half and not to the double: most channels have two or three users.
fn add(list: &mut Vec<Member>, member: Member) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 2);
    }
    list.push(member);
}

fn place(hash: u32, depth: u32) -> usize {
    debug_assert!(depth < DEPTH_MAX, "there are no branches below");
    (hash >> (depth * BITS)) as usize % WIDTH
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn names(members: &Members) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        members.visit(&mut |member| names.insert(member.user.to_string()));
        names
    }

    fn longest_leaf(members: &Members) -> usize {
        match members {
            Members::Leaf(list) => list.len(),
            Members::Branch(branch) => branch.parts.iter().map(longest_leaf).max().unwrap_or(0),
        }
    }

    #[test]
    fn no_leaf_is_long_however_many_there_are_and_nothing_stays_behind() {
        let mut members = Members::default();
        let hash = |number: u32| number.wrapping_mul(0x9e37_79b9);
        for number in 0..50_000 {
            members.find_or_add(hash(number), &number.to_string());
        }
        assert_eq!(members.len(), 50_000);
        assert!(longest_leaf(&members) <= LEAF_MAX);
        for number in 0..50_000 {
            assert!(members.remove(hash(number), |member| *member.user == *number.to_string()));
        }
        assert!(matches!(&members, Members::Leaf(list) if list.is_empty()));
    }

    #[test]
    fn users_with_one_hash_are_told_apart() {
        let mut members = Members::default();
        for number in 0..200 {
            members.find_or_add(7, &number.to_string()).sessions = number + 1;
        }
        assert_eq!(members.len(), 200);
        assert!(members.find(7, |member| &*member.user == "5").is_some_and(|member| member.sessions == 6));
        assert!(members.remove(7, |member| &*member.user == "5"));
        assert!(!members.remove(7, |member| &*member.user == "5"));
        assert_eq!(names(&members).len(), 199);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(steps in prop::collection::vec((any::<u8>(), 0u8..8), 0..600)) {
            let (mut members, mut model) = (Members::default(), BTreeSet::new());
            for (number, step) in steps {
                let (user, hash) = (number.to_string(), u32::from(number).wrapping_mul(0x0101_4001));
                match step {
                    0..=4 => {
                        members.find_or_add(hash, &user);
                        model.insert(user);
                    }
                    5 | 6 => prop_assert_eq!(members.remove(hash, |member| *member.user == *user), model.remove(&user)),
                    _ => {
                        let keeps = |user: &str| user.len() as u8 != number % 4;
                        members.retain(&mut |member| keeps(&member.user));
                        model.retain(|user| keeps(user));
                    }
                }
                prop_assert_eq!(members.len(), model.len());
            }
            prop_assert_eq!(names(&members), model);
        }
    }
}
