//! The claims beyond the known ones that decide what a session may do, as routes name them: which of them a token has.
//!
//! Asked once per token, and only when some route names a claim. The answer is a bit for each, so that a session keeps
//! no claims.

use serde_json::{Map, Value};

/// Which of the [`Wanted`] claims a token has, a bit for each. With user types and platforms they make the profiles of
/// a shard, so there are few.
pub type ClaimSet = u8;

/// `name`: the claim is there, and neither `false` nor `null`. `name=value`: it is this text or number, a list with it
/// in it, or words with it among them (as `scope` of RFC 8693 section 4.2).
#[derive(Clone, Debug)]
struct ClaimTest {
    name: Box<str>,
    value: Option<Box<str>>,
}

/// Every claim that some route asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Vec<ClaimTest>);

impl ClaimTest {
    fn parse(text: &str) -> Self {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        Self { name: name.into(), value: value.map(Into::into) }
    }

    fn holds(&self, claims: &Map<String, Value>) -> bool {
        let Some(claim) = claims.get(&*self.name) else { return false };
        match &self.value {
            None => !matches!(claim, Value::Null | Value::Bool(false)),
            Some(wanted) => is(claim, wanted),
        }
    }
}

fn is(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted || text.split(' ').any(|word| word == wanted),
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(flag) => flag.to_string() == wanted,
        Value::Array(items) => items.iter().any(|item| !item.is_array() && is(item, wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

impl Wanted {
    /// Tests in the order of their bits, [`ClaimSet::BITS`] at most.
    pub fn new<'a>(tests: impl IntoIterator<Item = &'a str>) -> Self {
        let tests: Vec<_> = tests.into_iter().map(ClaimTest::parse).collect();
        assert!(tests.len() <= ClaimSet::BITS as usize, "a bit for each");
        Self(tests)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, claims: &Map<String, Value>) -> ClaimSet {
        let bits = self.0.iter().enumerate().filter(|(_, test)| test.holds(claims)).map(|(at, _)| 1 << at);
        bits.fold(0, |set, bit: ClaimSet| set | bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_holds_for_what_it_names() {
        let claims = serde_json::json!({
            "yes": true, "no": false, "nothing": null, "level": 3, "role": "admin", "scope": "read chat:write",
            "groups": ["a", "b c", 7, ["d"]], "object": {}
        });
        let Value::Object(claims) = claims else { unreachable!("it is one") };
        for (test, holds) in [
            ("yes", true),
            ("no", false),
            ("nothing", false),
            ("missing", false),
            ("level", true),
            ("object", true),
            ("level=3", true),
            ("level=03", false),
            ("yes=true", true),
            ("role=admin", true),
            ("role=adm", false),
            ("scope=chat:write", true),
            ("scope=chat", false),
            ("groups=b", true),
            ("groups=a", true),
            ("groups=7", true),
            ("groups=d", false),
            ("object=", false),
        ] {
            assert_eq!(Wanted::new(["none", test]).of(&claims), if holds { 2 } else { 0 }, "{test}");
        }
    }
}
