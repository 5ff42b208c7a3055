//! From a route as it is written to one that can be executed: everything that can be wrong is found here, at start.

use super::action::{Action, Audience, ChannelList, Forward, Locate, Nearby, OneChannel, Typing};
use super::definition::{ActionName, Definition};
use super::field::{Field, FieldError};
use super::problem::Problem;
use super::table::Route;
use super::template::{NameTemplate, OF_SESSION, OF_TIME, Place, Scope, Template};

/// The services that a route may name beside those of the configuration. Without a backend behind it each is `local`.
pub const SERVICES: [&str; 5] = ["local", "location", "dispatch", "chat", "notifications"];

/// Most fields of one route.
pub(super) const FIELDS_MAX: usize = 32;

/// Most claims that all routes together may ask for: a bit of a session's profile each.
pub(super) const CLAIMS_MAX: usize = u8::BITS as usize;

/// What all routes are compiled with.
pub struct Context<'a> {
    /// Longest name of a channel, in bytes.
    pub channel_name_bytes_max: usize,
    /// Those that routes ask for, in the order of their bits.
    pub claims: Vec<String>,
    /// Those of the configuration, beside [`SERVICES`].
    pub services: &'a [&'a str],
}

impl Route {
    pub fn compile(
        file: &str,
        line: usize,
        definition: &Definition,
        context: &mut Context<'_>,
    ) -> Result<Self, Problem> {
        check_names(definition)?;
        let mut fields = Vec::new();
        for (is_required, described) in [(true, &definition.fields), (false, &definition.optional)] {
            for (name, description) in described {
                let field = Field::compile(name, is_required, description);
                fields.push(field.map_err(|error| Problem::Field(name.clone(), error))?);
            }
        }
        if fields.len() > FIELDS_MAX {
            return Err(Problem::TooManyFields);
        }
        let mut entry = Entry {
            keys: definition.clone(),
            fields: &fields,
            services: context.services,
            channel_name_bytes_max: context.channel_name_bytes_max,
        };
        entry.check_phase()?;
        let action = entry.action(definition.action)?;
        entry.refuse_unused()?;
        Ok(Self {
            kind: definition.kind.as_str().into(),
            when: definition.when.as_deref().map(Into::into),
            roles: definition.roles.iter().flatten().map(|role| role.as_str().into()).collect(),
            claim: definition.claim.as_deref().map_or(Ok(0), |claim| bit_of(claim, &mut context.claims))?,
            before_auth: definition.before_auth,
            fields: fields.into(),
            action,
            number: 0,
            file: file.into(),
            line,
            definition: definition.clone(),
        })
    }
}

/// What no message and no session could have: a type, a role or a field of this name.
fn check_names(definition: &Definition) -> Result<(), Problem> {
    if definition.kind.is_empty() {
        return Err(Problem::NoType);
    }
    if definition.roles.as_ref().is_some_and(Vec::is_empty) {
        return Err(Problem::NoRole);
    }
    let Definition { when, field, fields, optional, .. } = definition;
    let single = [("when", when), ("field", field)].into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?)));
    let described = [("fields", fields), ("optional", optional)];
    let described = described.into_iter().flat_map(|(key, map)| map.keys().map(move |name| (key, name)));
    for (key, name) in single.chain(described) {
        match name.as_str() {
            "" => return Err(Problem::NoFieldName(key)),
            "payload" => return Err(Problem::Payload(key)),
            _ => {}
        }
    }
    let twice = fields.keys().find(|name| optional.contains_key(*name));
    twice.map_or(Ok(()), |name| Err(Problem::Field(name.clone(), FieldError::Twice)))
}

/// What is left of a route's keys while its action takes those that it needs.
struct Entry<'a> {
    keys: Definition,
    fields: &'a [Field],
    services: &'a [&'a str],
    channel_name_bytes_max: usize,
}

impl Entry<'_> {
    fn action(&mut self, name: ActionName) -> Result<Action, Problem> {
        Ok(match name {
            ActionName::Authenticate => Action::Authenticate {
                field: self.take_field()?.into(),
                reply: required("reply", self.reply(&[OF_SESSION])?)?,
            },
            ActionName::Ping => Action::Ping { reply: required("reply", self.reply(&[OF_TIME])?)? },
            ActionName::Accept => {
                let places = if self.keys.before_auth { OF_TIME } else { OF_SESSION };
                Action::Accept { reply: self.reply(&[places])? }
            }
            ActionName::Refuse => Action::Refuse,
            ActionName::Subscribe => Action::Subscribe(self.list()?),
            ActionName::Unsubscribe => Action::Unsubscribe(self.list()?),
            ActionName::Join => Action::Join(self.one_channel(&[OF_SESSION])?),
            ActionName::Leave => Action::Leave(self.one_channel(&[OF_SESSION])?),
            ActionName::Presence => {
                let places = &[OF_SESSION, &[Place::Channel, Place::Users, Place::Count]];
                Action::Presence(self.one_channel(places)?)
            }
            ActionName::Forward => Action::Forward(self.forward()?),
            ActionName::Typing => Action::Typing(self.typing()?),
            ActionName::Locate => Action::Locate(self.locate()?),
            ActionName::Nearby => Action::Nearby(self.nearby()?),
            ActionName::LeaveNearby => Action::LeaveNearby { reply: self.reply(&[OF_SESSION])? },
            ActionName::Confirm => {
                let name = self.take_field()?;
                let field = self.find("field", &name, Field::has_text)?;
                Action::Confirm { field, forward: self.forward()? }
            }
        })
    }

    /// Before a token there is nobody yet: no user, no channels.
    fn check_phase(&self) -> Result<(), Problem> {
        use ActionName::*;
        let is_for_anybody = match self.keys.action {
            Authenticate | Ping | Accept | Refuse => true,
            Subscribe | Unsubscribe | Join | Leave | Presence | Forward | Confirm | Typing => false,
            Locate | Nearby | LeaveNearby => false,
        };
        if self.keys.before_auth && !is_for_anybody { Err(Problem::BeforeAuth) } else { Ok(()) }
    }

    fn list(&mut self) -> Result<ChannelList, Problem> {
        let field = self.take_field()?;
        let channel = self.channel(Some(&field))?;
        if !channel.has_item() {
            return Err(Problem::ChannelWithoutField);
        }
        let channel = to_be_joined(channel)?;
        let reply = required("reply", self.reply(&[OF_SESSION, &[Place::List]])?)?;
        Ok(ChannelList { field: field.into(), channel, reply })
    }

    fn one_channel(&mut self, places: &[&[Place]]) -> Result<OneChannel, Problem> {
        Ok(OneChannel { channel: to_be_joined(self.channel(None)?)?, reply: self.reply(places)? })
    }

    fn forward(&mut self) -> Result<Forward, Problem> {
        let places = &[OF_SESSION, &[Place::MessageId]];
        let audience = if self.keys.channel.is_some() { Some(self.audience(true)?) } else { None };
        let message = self.keys.message.take();
        let message = message.map(|text| self.template("message", &text, places)).transpose()?;
        if audience.is_some() && message.is_none() {
            return Err(Problem::Missing("message"));
        }
        let key = self.keys.key.take().map(|text| self.name("key", &text, None)).transpose()?;
        Ok(Forward { service: self.service()?, key, audience, message, reply: self.reply(places)? })
    }

    /// The channel of the others, to which only members send unless the route says otherwise.
    fn audience(&mut self, to_sender: bool) -> Result<Audience, Problem> {
        Ok(Audience {
            channel: self.channel(None)?,
            members_only: self.keys.members_only.take().unwrap_or(true),
            to_sender: self.keys.to_sender.take().unwrap_or(to_sender),
        })
    }

    fn typing(&mut self) -> Result<Typing, Problem> {
        let audience = self.audience(false)?;
        let flag = self.keys.flag.take().map(|name| self.find("flag", &name, Field::is_boolean)).transpose()?;
        let start = self.keys.start.take().ok_or(Problem::Missing("start"))?;
        let stop = self.keys.stop.take().ok_or(Problem::Missing("stop"))?;
        let start = self.template("start", &start, &[OF_SESSION])?;
        Ok(Typing { audience, flag, start, stop: self.template("stop", &stop, &[OF_SESSION])? })
    }

    fn locate(&mut self) -> Result<Locate, Problem> {
        let message = self.keys.message.take().ok_or(Problem::Missing("message"))?;
        Ok(Locate {
            channel: self.channel(None)?,
            latitude: self.find("fields", "latitude", Field::is_number)?,
            longitude: self.find("fields", "longitude", Field::is_number)?,
            message: self.template("message", &message, &[OF_SESSION])?,
            forward: self.forward()?,
        })
    }

    fn nearby(&mut self) -> Result<Nearby, Problem> {
        Ok(Nearby {
            latitude: self.find("fields", "latitude", Field::is_number)?,
            longitude: self.find("fields", "longitude", Field::is_number)?,
            radius: self.find("fields", "radius", Field::is_number)?,
            reply: self.reply(&[OF_SESSION])?,
        })
    }

    fn take_field(&mut self) -> Result<String, Problem> {
        self.keys.field.take().ok_or(Problem::Missing("field"))
    }

    /// `list` is the field of the list whose items are named, if there is one.
    fn channel(&mut self, list: Option<&str>) -> Result<NameTemplate, Problem> {
        let text = self.keys.channel.take().ok_or(Problem::Missing("channel"))?;
        let channel = self.name("channel", &text, list)?;
        let can_be = channel.can_be_channel(self.channel_name_bytes_max);
        if can_be { Ok(channel) } else { Err(Problem::NoChannelName(self.channel_name_bytes_max)) }
    }

    fn service(&mut self) -> Result<Box<str>, Problem> {
        let name = self.keys.service.take().unwrap_or_else(|| SERVICES[0].to_owned());
        let mut known = SERVICES.iter().chain(self.services);
        if known.any(|known| **known == name) { Ok(name.into()) } else { Err(Problem::UnknownService(name)) }
    }

    fn reply(&mut self, places: &[&[Place]]) -> Result<Option<Template>, Problem> {
        let Some(text) = self.keys.reply.take() else { return Ok(None) };
        let reply = Template::parse_reply(&text, Scope { fields: self.fields, places });
        reply.map(Some).map_err(|error| Problem::Template("reply", error))
    }

    fn template(&self, key: &'static str, text: &str, places: &[&[Place]]) -> Result<Template, Problem> {
        Template::parse(text, Scope { fields: self.fields, places }).map_err(|error| Problem::Template(key, error))
    }

    fn name(&self, key: &'static str, text: &str, list: Option<&str>) -> Result<NameTemplate, Problem> {
        NameTemplate::parse(text, self.fields, list).map_err(|error| Problem::Template(key, error))
    }

    /// The position of a required field that the action reads.
    fn find(&self, key: &'static str, name: &str, is_right: impl Fn(&Field) -> bool) -> Result<usize, Problem> {
        let is_it = |field: &Field| *field.name == *name && field.is_required && is_right(field);
        self.fields.iter().position(is_it).ok_or_else(|| Problem::NoSuchField(key, name.to_owned()))
    }

    fn refuse_unused(&self) -> Result<(), Problem> {
        // No `..`: a new key is one that every route may have, or it is looked at here.
        #[rustfmt::skip]
        let Definition {
            kind: _, about: _, when: _, roles: _, claim: _, before_auth: _, action: _,
            fields: _, optional: _, example: _,
            field, channel, members_only, to_sender, flag, message, start, stop, reply, service, key,
        } = &self.keys;
        let texts = [
            ("field", field),
            ("channel", channel),
            ("flag", flag),
            ("message", message),
            ("start", start),
            ("stop", stop),
            ("reply", reply),
            ("service", service),
            ("key", key),
        ];
        let text = texts.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name);
        let flags = [("members_only", members_only), ("to_sender", to_sender)];
        let flag = flags.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name);
        text.or(flag).map_or(Ok(()), |name| Err(Problem::Unused(name)))
    }
}

/// The bit of a claim, which is in the list from now on.
fn bit_of(claim: &str, claims: &mut Vec<String>) -> Result<u8, Problem> {
    if claim.is_empty() || claim.starts_with('=') {
        return Err(Problem::NoClaim);
    }
    let at = claims.iter().position(|known| known == claim).unwrap_or_else(|| {
        claims.push(claim.to_owned());
        claims.len() - 1
    });
    if at < CLAIMS_MAX { Ok(1 << at) } else { Err(Problem::TooManyClaims) }
}

/// Where a session is by who it is, it neither comes by itself nor goes, and nobody is listed.
fn to_be_joined(channel: NameTemplate) -> Result<NameTemplate, Problem> {
    if channel.is_implicit() { Err(Problem::ImplicitChannel) } else { Ok(channel) }
}

fn required<T>(key: &'static str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or(Problem::Missing(key))
}
