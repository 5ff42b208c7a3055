//! The ride-hailing day: who is who among the clients, where they are, what they say, and who must hear it.
//!
//! Connections come in rounds: a vendor, some drivers, users who follow the vendor by name, users who watch a circle,
//! users who chat. The vendors of a few rounds are in one town, which the circles of the users of these rounds hold;
//! users who chat are in the clan of theirs. Towns are so far from each other that nobody sees into another.
//!
//! Invariant: who must hear what follows from the numbers of the connections alone.

use super::cast::{Cast, Part};

/// Rounds whose vendors are in one town.
const TOWN_ROUNDS: u32 = VOICES as u32;

/// Rounds whose users are in one clan.
const CLAN_ROUNDS: u32 = 10;

/// Others whom one client hears at most, each with numbers of its own: the vendors of a town, those who speak in a
/// clan.
pub const VOICES: usize = 4;

/// Degrees between towns: at least 27 km, as they lie between 60 degrees south and 40 north.
const TOWN_SPACING: (f64, f64) = (0.1, 0.5);
const TOWNS_PER_COLUMN: u32 = 1000;

/// How far vendors and drivers go from the middle of their town: a kilometre, so that they come into other cells.
const WAY: f64 = 0.009;

/// Between two positions, in radians: far enough that one is not the other.
const STEP: f64 = 0.7;

const FOLLOW_VENDOR: &str = r#"{"type":"subscribe_vendor","vendorId":"u{group}"}"#;
const WATCH_CIRCLE: &str = r#"{"type":"subscribe_nearby","latitude":{latitude},"longitude":{longitude},"radius":1500}"#;
const JOIN_CLAN: &str = r#"{"type":"subscribe_clan_chat","clanId":"flood-{group}"}"#;

/// Accuracy and timestamp carry the stamp: a vendor's followers get them as they came.
const LOCATION: &str = r#"{"type":"location_update","payload":{"latitude":{latitude},"longitude":{longitude},"heading":90,"speed":12.5,"accuracy":{number},"timestamp":{intended_us}}}"#;
const CHAT: &str = r#"{"type":"chat","clanId":"flood-{group}","content":"{stamp}","messageType":"TEXT"}"#;
const TYPING: &str = r#"{"type":"typing","clanId":"flood-{group}","isTyping":true}"#;
const NOT_TYPING: &str = r#"{"type":"typing","clanId":"flood-{group}","isTyping":false}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Vendor,
    Driver,
    Follower,
    Neighbour,
    /// Says something in its clan now and then.
    Speaker,
    /// Only reads there.
    Reader,
}

/// What is said on a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Location,
    Typing,
    Chat,
    NotTyping,
}

#[derive(Clone, Copy, Debug)]
pub struct Day {
    pub connections: u32,
    /// For every vendor.
    pub drivers: u32,
    pub followers: u32,
    pub neighbours: u32,
    pub chatters: u32,
    /// Of 1,000 who only listen, so many fall silent, and `slow` more stop reading.
    pub vanishing: u32,
    pub slow: u32,
}

impl Line {
    pub fn is_said_by(self, role: Role) -> bool {
        match self {
            Self::Location => matches!(role, Role::Vendor | Role::Driver),
            Self::Typing | Self::Chat | Self::NotTyping => role == Role::Speaker,
        }
    }

    /// Carries a number and a time.
    pub fn is_stamped(self) -> bool {
        matches!(self, Self::Location | Self::Chat)
    }

    /// What comes back to who says it: the answer and the message itself.
    fn echoes(self) -> u32 {
        if self == Self::Chat { 2 } else { 0 }
    }
}

impl Day {
    fn round_size(self) -> u32 {
        1 + self.drivers + self.followers + self.neighbours + self.chatters
    }

    fn round(self, i: u32) -> u32 {
        i / self.round_size()
    }

    pub fn role(self, i: u32) -> Role {
        let Self { drivers, followers, neighbours, .. } = self;
        let place = i % self.round_size();
        if place == 0 {
            return Role::Vendor;
        }
        match place - 1 {
            place if place < drivers => Role::Driver,
            place if place < drivers + followers => Role::Follower,
            place if place < drivers + followers + neighbours => Role::Neighbour,
            place if place == drivers + followers + neighbours && self.round(i) % CLAN_ROUNDS < VOICES as u32 => {
                Role::Speaker
            }
            _ => Role::Reader,
        }
    }

    pub fn part(self, i: u32) -> Part {
        let role = self.role(i);
        let only_listens = matches!(role, Role::Follower | Role::Neighbour | Role::Reader);
        // Spread over all: 617 has no factor in common with 1,000.
        let lot = (u64::from(i) * 617 % 1000) as u32;
        let (vanishes, slow) = (lot < self.vanishing, (self.vanishing..self.vanishing + self.slow).contains(&lot));
        Part {
            group: match role {
                Role::Speaker | Role::Reader => self.round(i) / CLAN_ROUNDS,
                _ => self.round(i) * self.round_size(),
            },
            user_type: Some(match role {
                Role::Vendor => "vendor",
                Role::Driver => "driver",
                _ => "user",
            }),
            subscribes: !matches!(role, Role::Vendor | Role::Driver),
            sends: !only_listens,
            stays: false,
            vanishes: only_listens && vanishes,
            reads: !(only_listens && slow),
        }
    }

    /// The message that makes connection `i` hear others.
    pub fn subscription(self, i: u32) -> Option<String> {
        let template = match self.role(i) {
            Role::Vendor | Role::Driver => return None,
            Role::Follower => FOLLOW_VENDOR,
            Role::Neighbour => WATCH_CIRCLE,
            Role::Speaker | Role::Reader => JOIN_CLAN,
        };
        let (latitude, longitude) = self.town(i);
        Some(self.fill(template, i, latitude, longitude))
    }

    /// What connection `i` says. `content_bytes`: of a chat.
    pub fn text(self, line: Line, i: u32, number: u32, intended_us: u64, content_bytes: usize) -> String {
        let template = match line {
            Line::Location => LOCATION,
            Line::Chat => CHAT,
            Line::Typing => TYPING,
            Line::NotTyping => NOT_TYPING,
        };
        let (latitude, longitude) = self.town(i);
        let (north, east) = (STEP * f64::from(number) + f64::from(i)).sin_cos();
        self.fill(template, i, latitude + WAY * north, longitude + WAY * east)
            .replace("{stamp}", &format!("{:<content_bytes$}", format!("{number} {intended_us}")))
            .replace("{number}", &number.to_string())
            .replace("{intended_us}", &intended_us.to_string())
    }

    fn fill(self, template: &str, i: u32, latitude: f64, longitude: f64) -> String {
        template
            .replace("{group}", &self.part(i).group.to_string())
            .replace("{latitude}", &format!("{latitude:.6}"))
            .replace("{longitude}", &format!("{longitude:.6}"))
    }

    /// The middle of connection `i`'s town, in degrees.
    fn town(self, i: u32) -> (f64, f64) {
        let town = self.round(i) / TOWN_ROUNDS;
        let (column, row) = (town / TOWNS_PER_COLUMN, town % TOWNS_PER_COLUMN);
        (-60.0 + TOWN_SPACING.0 * f64::from(row), -170.0 + TOWN_SPACING.1 * f64::from(column))
    }

    /// Whether `listener` hears what `sender` says.
    pub fn hears(self, listener: u32, sender: u32) -> bool {
        let share = |rounds: u32| self.round(listener) / rounds == self.round(sender) / rounds;
        match (self.role(listener), self.role(sender)) {
            (Role::Follower, Role::Vendor) => share(1),
            (Role::Neighbour, Role::Vendor) => share(TOWN_ROUNDS),
            (Role::Speaker | Role::Reader, Role::Speaker) => share(CLAN_ROUNDS),
            _ => false,
        }
    }

    /// Which of the voices that its listeners hear `sender` is.
    pub fn voice(self, sender: u32) -> usize {
        let rounds = if self.role(sender) == Role::Vendor { TOWN_ROUNDS } else { CLAN_ROUNDS };
        (self.round(sender) % rounds) as usize
    }

    /// How many others must hear what `sender` says.
    pub fn audience(self, sender: u32) -> u32 {
        let rounds = match self.role(sender) {
            Role::Vendor => TOWN_ROUNDS,
            Role::Speaker => CLAN_ROUNDS,
            _ => return 0,
        };
        let size = rounds * self.round_size();
        let first = sender / size * size;
        let others = (first..(first + size).min(self.connections)).filter(|&i| i != sender);
        others.filter(|&i| self.hears(i, sender) && self.part(i).listens()).count() as u32
    }

    /// How many messages must come of one line of a sender with so large an audience.
    pub fn receipts(line: Line, audience: u32) -> u32 {
        audience + line.echoes()
    }
}

/// The number of the connection whose user this is.
pub fn number_of(user: &str) -> Option<u32> {
    let number = user.strip_prefix('u')?.parse().ok()?;
    (Cast::user(number) == user).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day =
        Day { connections: 2_005, drivers: 1, followers: 4, neighbours: 2, chatters: 2, vanishing: 100, slow: 50 };

    fn all(role: Role) -> Vec<u32> {
        (0..DAY.connections).filter(|&i| DAY.role(i) == role).collect()
    }

    #[test]
    fn a_round_has_everybody_and_only_those_who_just_listen_vanish_or_stop_reading() {
        assert_eq!((all(Role::Vendor).len(), all(Role::Driver).len()), (201, 201));
        assert_eq!((all(Role::Neighbour).len(), all(Role::Speaker).len()), (400, 80));
        for i in 0..DAY.connections {
            let part = DAY.part(i);
            let is_heard = matches!(DAY.role(i), Role::Vendor | Role::Driver | Role::Speaker);
            assert_eq!(part.sends, is_heard);
            assert!(!is_heard || part.listens());
        }
        let silent = (0..DAY.connections).filter(|&i| !DAY.part(i).listens()).count();
        assert!((150..280).contains(&silent), "{silent}");
    }

    #[test]
    fn an_audience_is_whoever_hears_and_listens_wherever_it_is() {
        for sender in (0..DAY.connections).filter(|&i| DAY.part(i).sends) {
            let hears = |&i: &u32| i != sender && DAY.hears(i, sender) && DAY.part(i).listens();
            assert_eq!(DAY.audience(sender) as usize, (0..DAY.connections).filter(hears).count(), "{sender}");
        }
    }

    #[test]
    fn nobody_hears_two_others_with_the_same_voice() {
        for listener in 0..200 {
            let mut voices: Vec<usize> =
                (0..DAY.connections).filter(|&i| DAY.hears(listener, i)).map(|i| DAY.voice(i)).collect();
            let count = voices.len();
            voices.sort_unstable();
            voices.dedup();
            assert!(voices.len() == count && voices.iter().all(|&voice| voice < VOICES));
        }
    }

    #[test]
    fn texts_are_json_with_the_speakers_own_stamp() {
        for line in [Line::Location, Line::Chat, Line::Typing, Line::NotTyping] {
            let text = DAY.text(line, 8, 3, 77, 64);
            assert!(sonic_rs::from_str::<sonic_rs::Value>(&text).is_ok(), "{text}");
            assert_eq!(text.contains("77"), line.is_stamped());
        }
        assert_eq!(DAY.subscription(12).as_deref(), Some(r#"{"type":"subscribe_vendor","vendorId":"u10"}"#));
        assert_eq!(number_of("u10"), Some(10));
        assert_eq!([number_of("u010"), number_of("v1"), number_of("u")], [None; 3]);
    }
}
