//! Who the clients are: user, token, subscription and behaviour of connection number `i`.
//!
//! Shared by all workers and read only. A template may contain `{i}` (number of the connection) and `{group}`, that of
//! a subscription `{channels}` as well (the names of all its channels, as they stand in a JSON list).

use ringway::auth::mint::mint;

use super::day::Day;
use super::upgrade;

/// Tokens live longer than any run.
const TOKEN_TTL_S: u64 = 7 * 24 * 3600;

/// How the server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// JSON messages with a `type`: greeting, subscription, heartbeats, ping and pong.
    #[default]
    Ringway,
    /// Nothing but frames: what is sent comes back.
    PlainEcho,
}

/// Where the token of a connection comes from.
#[derive(Clone, Debug)]
pub enum Token {
    None,
    /// The same for all, or a template.
    Text(String),
    /// Made for user `u{i}`, signed with this secret.
    Secret(String),
}

/// What part a connection plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub group: u32,
    pub user_type: Option<&'static str>,
    /// Subscribes to its group's channel.
    pub subscribes: bool,
    /// Sends in echo phases.
    pub sends: bool,
    /// Stays when everybody else drops.
    pub stays: bool,
    /// Falls silent once it is held.
    pub vanishes: bool,
    /// Goes on reading once it is held.
    pub reads: bool,
}

impl Part {
    /// Whether it must receive everything.
    pub fn is_audience(self) -> bool {
        self.subscribes && self.listens()
    }

    /// Whether it hears what is sent to it.
    pub fn listens(self) -> bool {
        self.reads && !self.vanishes
    }
}

/// Which parts there are.
#[derive(Clone, Copy, Debug)]
pub enum Troupe {
    /// All alike, spread over `groups` in turn.
    Even { groups: u32 },
    /// All alike, each in `each` neighbouring groups of `groups`, counted from its own number on.
    Window { groups: u32, each: u32 },
    /// The first so many send and subscribe to nothing; the others subscribe and send nothing.
    Two { first: u32 },
    /// The first of every `every` connections listens to the background channel and stays, the others come and go.
    Storm { every: u32 },
    /// Vendors, drivers, users.
    Day(Day),
}

#[derive(Clone, Debug)]
pub struct Cast {
    pub protocol: Protocol,
    pub troupe: Troupe,
    pub host: String,
    pub path: String,
    pub token: Token,
    /// The channel of group `n` is this with the number behind it.
    pub group_channel: &'static str,
    /// The message that subscribes; empty: none.
    pub subscribe: String,
    /// A text in the server's first message; empty: not awaited.
    pub greeting: String,
    /// A text in the answer to the subscription; empty: not awaited.
    pub subscribed: String,
}

impl Troupe {
    pub fn part(self, i: u32) -> Part {
        let plain = Part {
            group: 0,
            user_type: None,
            subscribes: true,
            sends: true,
            stays: false,
            vanishes: false,
            reads: true,
        };
        match self {
            Self::Even { groups } | Self::Window { groups, .. } => Part { group: i % groups.max(1), ..plain },
            Self::Two { first } => Part { subscribes: i >= first, sends: i < first, ..plain },
            Self::Storm { every } => {
                let stays = i.is_multiple_of(every);
                Part { group: u32::from(!stays), stays, ..plain }
            }
            Self::Day(day) => day.part(i),
        }
    }
}

impl Troupe {
    /// How many groups there are, and in how many neighbouring ones each connection is, its own being the first.
    pub fn groups(self) -> (u32, u32) {
        match self {
            Self::Even { groups } => (groups.max(1), 1),
            Self::Window { groups, each } => (groups.max(1), each.clamp(1, groups.max(1))),
            Self::Two { .. } => (1, 1),
            Self::Storm { .. } => (2, 1),
            // What they hear comes from each other, and not from a backend.
            Self::Day(_) => (1, 1),
        }
    }
}

impl Cast {
    pub fn part(&self, i: u32) -> Part {
        self.troupe.part(i)
    }

    pub fn user(i: u32) -> String {
        format!("u{i}")
    }

    /// The upgrade request of connection `i`.
    pub fn request(&self, i: u32, now_unix_s: u64) -> Vec<u8> {
        let part = self.part(i);
        let token = match &self.token {
            Token::None => None,
            Token::Text(template) => Some(fill(template, i, part.group)),
            // Fails only for an empty secret, which the arguments refuse.
            Token::Secret(secret) => mint(secret, &Self::user(i), part.user_type, TOKEN_TTL_S, now_unix_s, &[]).ok(),
        };
        upgrade::request(&self.host, &fill(&self.path, i, part.group), token.as_deref())
    }

    /// The message that subscribes connection `i`, if it subscribes at all.
    pub fn subscription(&self, i: u32) -> Option<String> {
        if let Troupe::Day(day) = self.troupe {
            return day.subscription(i);
        }
        let part = self.part(i);
        let wanted = part.subscribes && !self.subscribe.is_empty();
        wanted.then(|| fill(&self.subscribe, i, part.group).replace("{channels}", &self.channels(part.group)))
    }

    /// The channels of the groups from this one on, as they stand in a JSON list.
    fn channels(&self, first: u32) -> String {
        let (groups, each) = self.troupe.groups();
        let names = (0..each).map(|place| format!("\"{}{}\"", self.group_channel, (first + place) % groups));
        names.collect::<Vec<_>>().join(",")
    }
}

fn fill(template: &str, i: u32, group: u32) -> String {
    if !template.contains('{') {
        return template.to_owned();
    }
    template.replace("{i}", &i.to_string()).replace("{group}", &group.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Cast {
        /// Clients that say nothing.
        pub fn of(troupe: Troupe) -> Self {
            Self {
                protocol: Protocol::Ringway,
                troupe,
                host: String::new(),
                path: String::new(),
                token: Token::None,
                group_channel: "c:",
                subscribe: String::new(),
                greeting: String::new(),
                subscribed: String::new(),
            }
        }
    }

    #[test]
    fn a_template_is_filled_with_number_and_group() {
        let text = fill(r#"{"type":"subscribe","channels":["conv:{group}","x:{i}"]}"#, 7, 2);
        assert_eq!(text, r#"{"type":"subscribe","channels":["conv:2","x:7"]}"#);
    }

    #[test]
    fn a_connection_subscribes_to_neighbouring_channels_and_every_channel_has_as_many_members() {
        let cast = Cast { subscribe: "[{channels}]".into(), ..Cast::of(Troupe::Window { groups: 5, each: 3 }) };
        assert_eq!(cast.subscription(3).as_deref(), Some(r#"["c:3","c:4","c:0"]"#));
        assert_eq!(cast.subscription(5), cast.subscription(0));
    }

    #[test]
    fn a_storm_has_an_audience_that_stays() {
        let troupe = Troupe::Storm { every: 10 };
        let stays = (0..1000).filter(|&i| troupe.part(i).stays).count();
        assert_eq!(stays, 100);
        assert!((0..1000).all(|i| troupe.part(i).stays == (troupe.part(i).group == 0)));
    }
}
