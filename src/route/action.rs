//! What a route leads to, with what the route says about it. The session executes it.

use super::template::{NameTemplate, Template};

/// What is done with a message.
#[derive(Debug)]
pub enum Action {
    /// Verifies the token in the field: the session begins, or goes on with the fresh token.
    Authenticate { field: Box<str>, reply: Template },
    /// Answers with the gateway's time.
    Ping { reply: Template },
    /// Nothing, or no more than an answer: that it came is what counts.
    Accept { reply: Option<Template> },
    /// Answers that this is not allowed.
    Refuse,
    /// Joins the channels of a list, as far as that is allowed.
    Subscribe(ChannelList),
    /// Leaves the channels of a list.
    Unsubscribe(ChannelList),
    /// Joins one channel.
    Join(OneChannel),
    /// Leaves one channel.
    Leave(OneChannel),
    /// Hands a message to a service. The service `local` brings it to the channel.
    Forward(Forward),
    /// Tells the others in a channel that somebody writes, or does not any more.
    Typing(Typing),
    /// Answers who is in a channel.
    Presence(OneChannel),
    /// Tells those who follow the sender, by his channel or nearby, where he is.
    Locate(Locate),
    /// Follows whoever is in a circle.
    Nearby(Nearby),
    /// Follows it no longer.
    LeaveNearby { reply: Option<Template> },
    /// Notes that a notification has reached its user, and hands the message to a service.
    Confirm { field: usize, forward: Forward },
}

/// Every action has its place in each match: a new one is to be asked the same questions.
impl Action {
    /// Whether what a client sends comes to other clients.
    pub fn reaches_others(&self) -> bool {
        match self {
            Self::Forward(forward) | Self::Confirm { forward, .. } => forward.audience.is_some(),
            Self::Typing(_) | Self::Locate(_) => true,
            Self::Authenticate { .. } | Self::Ping { .. } | Self::Accept { .. } | Self::Refuse => false,
            Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Join(_) | Self::Leave(_) | Self::Presence(_) => false,
            Self::Nearby(_) | Self::LeaveNearby { .. } => false,
        }
    }

    /// Whether it joins or leaves channels that the client names. Of one client such messages keep their order, also
    /// when somebody outside is asked what may be joined.
    pub fn changes_channels(&self) -> bool {
        match self {
            Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Join(_) | Self::Leave(_) => true,
            Self::Authenticate { .. } | Self::Ping { .. } | Self::Accept { .. } | Self::Refuse => false,
            Self::Forward(_) | Self::Confirm { .. } | Self::Typing(_) | Self::Presence(_) => false,
            Self::Locate(_) | Self::Nearby(_) | Self::LeaveNearby { .. } => false,
        }
    }
}

/// A list of channels in a message.
#[derive(Debug)]
pub struct ChannelList {
    /// The field that holds it.
    pub field: Box<str>,
    /// Of each item.
    pub channel: NameTemplate,
    pub reply: Template,
}

#[derive(Debug)]
pub struct OneChannel {
    pub channel: NameTemplate,
    pub reply: Option<Template>,
}

#[derive(Debug)]
pub struct Forward {
    pub service: Box<str>,
    /// What the service may order or partition by.
    pub key: Option<NameTemplate>,
    pub audience: Option<Audience>,
    /// What the service gets; without it, the message as it came.
    pub message: Option<Template>,
    /// The sender's answer when the service has taken it.
    pub reply: Option<Template>,
}

/// Whom a message is for.
#[derive(Debug)]
pub struct Audience {
    pub channel: NameTemplate,
    /// Only who is in the channel may send there.
    pub members_only: bool,
    /// The sender gets it too, if he is in the channel.
    pub to_sender: bool,
}

#[derive(Debug)]
pub struct Typing {
    pub audience: Audience,
    /// A boolean field that says whether it begins or ends; without it every message begins it.
    pub flag: Option<usize>,
    pub start: Template,
    pub stop: Template,
}

#[derive(Debug)]
pub struct Locate {
    /// The sender's own channel, such as `vendor:{user_id}`.
    pub channel: NameTemplate,
    /// Fields, in degrees.
    pub latitude: usize,
    pub longitude: usize,
    pub message: Template,
    /// The service that gets the message as it came.
    pub forward: Forward,
}

#[derive(Debug)]
pub struct Nearby {
    /// Fields, in degrees.
    pub latitude: usize,
    pub longitude: usize,
    /// A field, in metres.
    pub radius: usize,
    pub reply: Option<Template>,
}
