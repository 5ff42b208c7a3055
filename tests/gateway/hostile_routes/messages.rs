//! What a hostile client sends on a route: its example, with one field that is missing, wrong, out of range, huge,
//! nested, double, or full of what other messages are made of.

use ringway::route::Route;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use crate::support::wire;

/// JSON that a field can hardly mean, or that means something elsewhere. Values that only their size makes bad, and
/// those that are made, are in [`large`].
const VALUES: [&str; 38] = [
    "null",
    "true",
    "7",
    "-1",
    "-0.0",
    "1e999",
    "-1e308",
    "123456789012345678901234567890",
    "0.00000000000000000000000000000001",
    "\"\"",
    "\" \"",
    "\"x\"",
    "\"1\"",
    "\"true\"",
    "\"NaN\"",
    "\"*\"",
    "\"{user_id}\"",
    "\"{clanId}{payload}{message_id}\"",
    "\"{\"",
    "\"}}\"",
    r#""\"}""#,
    r#""\"},{\"type\":\"forged\",\"a\":\"""#,
    r#""\u0022,\u0022userId\u0022:\u0022bystander""#,
    r#""\\""#,
    r#""\\\"""#,
    r#""\ud83d\ude00""#,
    r#""\ud83d""#,
    r#""\ude00x""#,
    r#""\u0000""#,
    r#""a\nb\r\u2028\u007f""#,
    "\"all\"",
    "\"user:bystander\"",
    "\"type:rider\"",
    "\"x\\u0000user:bystander\"",
    "\"../user:bystander\"",
    "[]",
    r#"["all","user:bystander","type:rider","cell:8a1e15b71907fff"]"#,
    r#"{"type":"forged","payload":{}}"#,
];

/// Where the changed field stands.
#[derive(Clone, Copy)]
enum Stand {
    Inside,
    Beside,
    /// The good one in `payload`, the bad one beside `type`, and the other way round.
    BesideGood,
    InsideAndGoodBeside,
    /// Twice in one object.
    BehindGood,
    BeforeGood,
}

const STANDS: [Stand; 6] =
    [Stand::Inside, Stand::Beside, Stand::BesideGood, Stand::InsideAndGoodBeside, Stand::BehindGood, Stand::BeforeGood];

/// The members of an object as they are written, so that one may be there twice.
type Members = Vec<(String, String)>;

/// Everything that is tried on a route. The marker `ID` stands where the message's own id comes.
pub fn of(route: &Route) -> Vec<String> {
    let example = route.definition.example.as_deref().unwrap_or(r#"{"type":"none"}"#);
    let good = members(&wire::json(example));
    let mut names: Vec<&str> =
        route.definition.fields.keys().chain(route.definition.optional.keys()).map(|n| &**n).collect();
    names.extend(route.definition.field.as_deref().filter(|name| good.iter().any(|(known, _)| known == name)));
    let mut messages = misshapen(&route.kind, &good);
    for name in names {
        let without: Members = good.iter().filter(|(known, _)| known != name).cloned().collect();
        messages.push(written(&route.kind, &[], &without));
        let own = good.iter().find(|(known, _)| known == name).map_or("1", |(_, value)| value);
        for value in VALUES.into_iter().map(str::to_owned).chain(large()) {
            for stand in STANDS {
                messages.push(placed(&route.kind, &without, name, &value, own, stand));
            }
        }
    }
    messages
}

fn placed(kind: &str, others: &Members, name: &str, bad: &str, good: &str, stand: Stand) -> String {
    let member = |value: &str| (name.to_owned(), value.to_owned());
    let (bad, good) = (member(bad), member(good));
    let (beside, first, second) = match stand {
        Stand::Inside => (None, Some(bad), None),
        Stand::Beside => (Some(bad), None, None),
        Stand::BesideGood => (Some(bad), Some(good), None),
        Stand::InsideAndGoodBeside => (Some(good), Some(bad), None),
        Stand::BehindGood => (None, Some(good), Some(bad)),
        Stand::BeforeGood => (None, Some(bad), Some(good)),
    };
    let inside: Members = first.into_iter().chain(others.iter().cloned()).chain(second).collect();
    written(kind, beside.as_slice(), &inside)
}

fn written(kind: &str, beside: &[(String, String)], inside: &[(String, String)]) -> String {
    let member = |(name, value): &(String, String)| format!("{}:{value}", sonic_rs::to_string(name).expect("a text"));
    let beside: String = beside.iter().map(|one| format!("{},", member(one))).collect();
    let inside: Vec<String> = inside.iter().map(member).collect();
    format!(r#"{{"type":"{kind}","id":ID,{beside}"payload":{{{}}}}}"#, inside.join(","))
}

/// Messages of a type that are no messages, or strange ones.
fn misshapen(kind: &str, good: &Members) -> Vec<String> {
    let whole = written(kind, &[], good);
    let strange: String = (0..200).fold(String::new(), |text, n| text + &format!(r#","{{user_id}}{n}":"\"}}""#));
    vec![
        format!(r#"{{"type":"{kind}","id":ID}}"#),
        format!(r#"{{"type":"{kind}","id":ID,"payload":null}}"#),
        format!(r#"{{"type":"{kind}","id":ID,"payload":[1]}}"#),
        format!(r#"{{"type":"{kind}","id":ID,"payload":"{{}}"}}"#),
        format!(r#"{{"type":"{kind}","id":ID,"payload":{{"payload":{{}}}}}}"#),
        whole.replacen("\"type\"", "\"type\":\"forged\",\"type\"", 1),
        whole.replacen("\"payload\"", "\"payload\":{\"type\":\"forged\"},\"p\\u0061yload\"", 1),
        whole.replacen("\"id\":ID", &format!("\"id\":ID{strange}"), 1),
        whole.replacen("ID", "ID,\"userId\":\"bystander\",\"user_id\":\"bystander\",\"messageId\":{}", 1),
        whole.replacen('{', "{ \t\r\n", 1),
        format!("{whole}{whole}"),
        whole[..whole.len() - 1].to_owned(),
        format!("[{whole}]"),
        whole.replace('"', "'"),
        whole.replacen("\"type\"", "\"\\ud800\":1,\"type\"", 1),
        // An id that is none is not returned.
        whole.replacen("ID", "{\"type\":\"forged\"}", 1),
        whole.replacen("ID", &format!("\"{}\"", "\\u0022".repeat(100)), 1),
    ]
}

/// What is bad by its size: texts that fill the largest message, the deepest nesting, the longest list.
fn large() -> [String; 9] {
    [
        format!("\"{}\"", "x".repeat(129)),
        format!("\"{}\"", "x".repeat(256)),
        format!("\"{}\"", "x".repeat(7000)),
        format!("\"{}\"", "\\u0022".repeat(1200)),
        format!("\"{}\"", "\\\\".repeat(3500)),
        format!("{}{}", "[".repeat(60), "]".repeat(60)),
        format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000)),
        format!("[{}\"x\"]", "\"x\",".repeat(1100)),
        "9".repeat(5000),
    ]
}

/// The fields of an example, in `payload` or beside `type`.
fn members(example: &Value) -> Members {
    let fields = wire::at(example, &["payload"]).unwrap_or(example);
    let fields = fields.as_object().expect("an example is an object").iter();
    fields.filter(|(name, _)| *name != "type").map(|(name, value)| (name.to_owned(), value.to_string())).collect()
}

/// The value of a field in an example.
pub fn field_of(example: &Value, name: &str) -> Option<Value> {
    wire::at(example, &["payload", name]).or_else(|| example.get(name)).cloned()
}
