//! What the table promises: which route a message takes, and which routes are refused.

use super::*;

/// The routes of one text, as a configuration has them, above the shipped ones.
fn own(text: &str) -> Definitions {
    Definitions::read("own.toml", text).unwrap()
}

fn with(text: &str) -> &'static Routes {
    let routes = Routes::compile(&Vocabulary::ALL, &own(text), &["orders"], 255);
    Box::leak(Box::new(routes.unwrap_or_else(|errors| panic!("{text}: {errors:?}"))))
}

fn errors_of(text: &str) -> Vec<RouteError> {
    Routes::compile(&Vocabulary::ALL, &own(text), &["orders"], 255)
        .err()
        .unwrap_or_else(|| panic!("{text} can be used"))
}

fn found(routes: &'static Routes, message: &str, user_type: Option<&str>) -> Result<&'static Route, NotFound> {
    routes.find(&Request::parse(message).unwrap(), Sender { user_type, claims: 0 })
}

#[test]
fn a_message_finds_its_route_by_type_and_field() {
    let routes = Routes::shipped();
    for (message, file, when) in [
        (r#"{"type":"auth"}"#, "core.toml", None),
        (r#"{"type":"ping"}"#, "core.toml", None),
        (r#"{"type":"subscribe","channels":[]}"#, "core.toml", None),
        (r#"{"type":"subscribe"}"#, "core.toml", None),
        (
            r#"{"type":"subscribe","payload":{"conversation_ids":[]},"channels":[]}"#,
            "conversations.toml",
            Some("conversation_ids"),
        ),
        (r#"{"type":"typing","conversation_id":"c"}"#, "conversations.toml", Some("conversation_id")),
        (r#"{"type":"typing","payload":{"clanId":"c"}}"#, "community.toml", Some("clanId")),
    ] {
        let route = found(routes, message, None).unwrap();
        assert_eq!((&*route.file, route.when.as_deref()), (file, when), "{message}");
    }
    for kind in ["a", "aut", "authh", "Ping", "zzz", "subscribe "] {
        let message = format!(r#"{{"type":"{kind}"}}"#);
        assert_eq!(found(routes, &message, None).err(), Some(NotFound::UnknownType), "{kind}");
    }
    let neither = found(routes, r#"{"type":"typing"}"#, None).err();
    assert!(matches!(neither, Some(NotFound::WithoutField("conversation_id" | "clanId"))), "{neither:?}");
}

#[test]
fn a_field_that_is_null_is_not_there() {
    for (message, file) in [
        (r#"{"type":"typing","conversation_id":null,"clanId":"k1","isTyping":true}"#, "community.toml"),
        (r#"{"type":"typing","payload":{"conversation_id":null,"clanId":"k1","isTyping":true}}"#, "community.toml"),
        (r#"{"type":"presence.get","channel":"conv:c1","conversation_id":null}"#, "core.toml"),
        (r#"{"type":"subscribe","channels":["conv:c1"],"conversation_ids":null}"#, "core.toml"),
    ] {
        assert_eq!(found(Routes::shipped(), message, None).map(|route| &*route.file), Ok(file), "{message}");
    }
    let neither = found(Routes::shipped(), r#"{"type":"typing","clanId":null}"#, None).err();
    assert!(matches!(neither, Some(NotFound::WithoutField(_))), "{neither:?}");
    let example = "[[routes]]\ntype = 'a'\nwhen = 'f'\naction = 'accept'\nexample = '{\"type\":\"a\",\"f\":null}'";
    assert_eq!(errors_of(example)[0].problem, Problem::Example("the field f is missing".into()));
}

#[test]
fn a_message_finds_its_route_by_who_sends_it() {
    let message = r#"{"type":"location_update","latitude":1,"longitude":1}"#;
    let file = |user_type| found(Routes::shipped(), message, user_type).map(|route| &*route.file);
    assert_eq!(file(Some("driver")), Ok("dispatch.toml"));
    assert_eq!(file(Some("vendor")), Ok("tracking.toml"));
    assert_eq!(file(None), Ok("tracking.toml"));
    assert_eq!(file(Some("rider")), Err(NotFound::Forbidden));
    let response = r#"{"type":"dispatch_response"}"#;
    assert_eq!(found(Routes::shipped(), response, None).err(), Some(NotFound::Forbidden));
}

#[test]
fn before_a_token_only_auth_and_ping_are_answered() {
    let open = Routes::shipped().all().iter().filter(|route| route.before_auth);
    assert_eq!(open.map(|route| &*route.kind).collect::<Vec<_>>(), ["auth", "ping"]);
}

#[test]
fn every_example_takes_the_route_that_it_stands_beside() {
    let mut examples = 0;
    for route in Routes::shipped().all() {
        let Some(example) = &route.definition.example else { continue };
        let user_type = route.roles.first().map(|role| &**role);
        let taken = found(Routes::shipped(), example, user_type).unwrap_or_else(|error| panic!("{example}: {error:?}"));
        assert_eq!((&taken.file, taken.line), (&route.file, route.line), "{example}");
        taken.read(&Request::parse(example).unwrap()).unwrap_or_else(|error| panic!("{example}: {error}"));
        examples += 1;
    }
    assert_eq!(examples, Routes::shipped().all().len() - 1, "all but auth, which needs a token");
    for (_, event) in Routes::shipped().events() {
        assert_eq!(Request::parse(&event.example).unwrap().kind, event.kind);
    }
}

#[test]
fn every_service_gets_a_key_to_order_by() {
    let with_service = Routes::shipped().all().iter().filter(|route| route.definition.service.is_some());
    let without_key: Vec<_> = with_service.filter(|route| route.definition.key.is_none()).map(|r| &r.kind).collect();
    assert!(without_key.is_empty(), "{without_key:?}");
}

#[test]
fn the_configuration_adds_routes_and_puts_its_own_in_the_place_of_shipped_ones() {
    let routes = with(
        r#"
        [[routes]]
        type = "chat"
        action = "refuse"

        [[routes]]
        type = "wave"
        fields = { to = "id" }
        action = "forward"
        channel = "user:{to}"
        members_only = false
        message = '{"type":"waved","from":"{user_id}"}'
        "#,
    );
    assert!(matches!(found(routes, r#"{"type":"chat"}"#, None).unwrap().action, Action::Refuse));
    assert_eq!(routes.of_type("chat").len(), 1);
    let wave = found(routes, r#"{"type":"wave"}"#, None).unwrap();
    assert_eq!((&*wave.file, wave.line), ("own.toml", 6));
    assert_eq!(routes.all().len(), Routes::shipped().all().len() + 1);
}

#[test]
fn it_is_known_of_every_route_whether_it_reaches_others() {
    let speaking = r#"channel = "conv:{to}"
        message = '{"type":"said","to":"{to}"}'"#;
    let route = |kind: &str, keys: &str, rest: &str| {
        let fields = r#"fields = { to = "id" }"#;
        format!("[[routes]]\ntype = '{kind}'\naction = '{kind}'\n{fields}\n{keys}\n{rest}\n")
    };
    for (kind, keys) in [("forward", ""), ("confirm", "field = 'to'")] {
        let to_others = with(&route(kind, keys, speaking)).json();
        let to_nobody = with(&route(kind, keys, "")).json();
        let told = |json: &str| json.contains(r#"{"file":"own.toml","line":1,"reaches_others":true"#);
        assert_eq!((told(&to_others), told(&to_nobody)), (true, false), "{kind}");
    }
}

#[test]
fn a_route_may_ask_for_a_claim() {
    let route =
        |kind: &str, claim: &str| format!("[[routes]]\ntype = '{kind}'\nclaim = '{claim}'\naction = 'accept'\n");
    let routes = with(&[route("a", "x=1"), route("b", "y"), route("c", "x=1")].concat());
    assert_eq!(routes.claims().collect::<Vec<_>>(), ["x=1", "y"]);
    let may = |kind: &str, claims| {
        let message = format!(r#"{{"type":"{kind}"}}"#);
        routes.find(&Request::parse(&message).unwrap(), Sender { user_type: None, claims }).is_ok()
    };
    assert_eq!(["a", "b", "c"].map(|kind| may(kind, 0)), [false; 3]);
    assert_eq!(["a", "b", "c"].map(|kind| may(kind, 1)), [true, false, true]);
    assert_eq!(["a", "b", "c"].map(|kind| may(kind, 2)), [false, true, false]);
    let nine: String = (0..9).map(|n| route(&format!("r{n}"), &format!("c{n}"))).collect();
    assert_eq!(errors_of(&nine).len(), 1);
    assert_eq!(errors_of(&route("a", "=1"))[0].problem, Problem::NoClaim);
}

#[test]
fn two_routes_for_the_same_messages_are_refused() {
    let ack = "[[routes]]\ntype = \"a\"\naction = \"accept\"\n";
    let errors = errors_of(&format!("{ack}roles = ['x']\n\n{ack}roles = ['y', 'x']\n\n{ack}"));
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].line, &errors[0].problem), (6, &Problem::Conflict(1)));
}

#[test]
fn a_route_that_an_earlier_one_leaves_nothing_is_refused() {
    let route = |keys: &str| format!("[[routes]]\ntype = 'a'\naction = 'accept'\n{keys}\n");
    for (earlier, narrower) in [
        (&[""][..], "when = 'f'"),
        (&[""], "roles = ['x']"),
        (&[""], "claim = 'c'"),
        (&["when = 'f'"], "when = 'f'\nroles = ['x']"),
        (&["roles = ['x', 'y']"], "roles = ['x']\nwhen = 'f'"),
        (&["claim = 'c'"], "claim = 'c'\nwhen = 'f'"),
        (&["roles = ['x']", "roles = ['y']"], "roles = ['x', 'y']\nwhen = 'f'"),
    ] {
        let earlier: Vec<String> = earlier.iter().map(|keys| route(keys)).collect();
        let errors = errors_of(&(earlier.concat() + &route(narrower)));
        let lines = earlier.concat().lines().count();
        let problem = Problem::Conflict(1 + lines - earlier.last().map_or(0, |last| last.lines().count()));
        assert_eq!(
            errors.iter().map(|e| (e.line, &e.problem)).collect::<Vec<_>>(),
            [(lines + 1, &problem)],
            "{narrower}"
        );
        // The other way round each has its messages.
        with(&(route(narrower) + &earlier.concat()));
    }
    with(&[route("roles = ['x']"), route("roles = ['x', 'y']\nwhen = 'f'")].concat());
    with(&[route("when = 'f'"), route("when = 'g'"), route("claim = 'c'"), route("")].concat());
}

#[test]
fn a_shipped_route_that_the_configuration_leaves_nothing_is_said_to_be_replaced() {
    let replaced = |text: &str| {
        let routes = with(text);
        let replaced = routes.replaced().iter();
        let replaced: Vec<_> = replaced.map(|r| (r.kind.as_str(), r.file.as_str(), r.by_line)).collect();
        assert_eq!(routes.all().len() + replaced.len(), Routes::shipped().all().len() + own(text).routes.len());
        replaced
    };
    let route = |keys: &str| format!("[[routes]]\naction = 'accept'\n{keys}\n");
    let both = [("typing", "conversations.toml", 1), ("typing", "community.toml", 1)];
    assert_eq!(replaced(&route("type = 'typing'")), both, "with any field");
    assert_eq!(replaced(&route("type = 'typing'\nwhen = 'clanId'")), both[1..]);
    assert_eq!(replaced(&route("type = 'typing'\nwhen = 'x'")), []);
    let of_users =
        [route("type = 'location_update'\nroles = ['user']"), route("type = 'location_update'\nroles = ['']")];
    assert_eq!(replaced(&of_users[0]), [], "those without a type are left");
    assert_eq!(replaced(&of_users.concat()), [("location_update", "tracking.toml", 5)]);
}

#[test]
fn an_example_that_does_not_take_its_route_is_refused() {
    let route = |example: &str| {
        format!(
            "[[routes]]\ntype = 'a'\nwhen = 'g'\naction = 'accept'\n[[routes]]\ntype = 'a'\nroles = ['x']\n\
            claim = 'c'\naction = 'subscribe'\nfield = 'l'\nchannel = '{{l}}'\nfields = {{ f = 'id' }}\n\
            optional = {{ n = 'number' }}\nreply = '{{\"type\":\"t\"}}'\nexample = '{example}'"
        )
    };
    with(&route(r#"{"type":"a","f":1,"l":["x"],"payload":{"n":null}}"#));
    for (example, why) in [
        ("{", "not valid JSON"),
        (r#"{"type":"b","f":1,"l":[]}"#, "its type is b"),
        (r#"{"type":"a","l":[]}"#, "the field f is missing"),
        (r#"{"type":"a","f":"","l":[]}"#, "the field f has the wrong type"),
        (r#"{"type":"a","f":1,"l":[],"n":""}"#, "the field n has the wrong type"),
        (r#"{"type":"a","f":1}"#, "the field l is no list"),
        (r#"{"type":"a","f":1,"l":[1]}"#, "the field l is no list"),
        (r#"{"type":"a","f":1,"l":[],"g":1}"#, "that of line 1 does"),
    ] {
        let errors = errors_of(&route(example));
        assert_eq!((errors.len(), errors[0].line), (1, 5), "{example}: {errors:?}");
        let line = errors[0].to_string();
        assert!(line.contains("does not take this route: ") && line.contains(why), "{example}: {line}");
    }
    let errors = errors_of("[[routes]]\ntype = 'a'\nwhen = 'f'\naction = 'accept'\nexample = '{\"type\":\"a\"}'");
    assert_eq!(errors[0].problem, Problem::Example("the field f is missing".into()));
}

#[test]
fn what_is_wrong_is_named_with_file_and_line() {
    let fields = "fields = { f = 'id', g = 'object' }\noptional = { o = 'text' }\n";
    for (rest, words) in [
        ("action = 'subscribe'\nchannel = '{f}'", "needs the key field"),
        ("action = 'subscribe'\nfield = 'f'", "needs the key channel"),
        ("action = 'subscribe'\nfield = 'f'\nchannel = 'x:{user_id}'", "does not name the field"),
        ("action = 'ping'", "needs the key reply"),
        ("action = 'ping'\nreply = '{}'", "not a JSON object"),
        ("action = 'ping'\nreply = '{\"type\":\"t\",\"a\":\"{user_id}\"}'", "there is no {user_id} here"),
        ("action = 'ping'\nreply = '{\"type\":\"t\",\"\\u0069d\":null}'", "reply: it has an id of its own"),
        ("action = 'accept'\nreply = '{\"type\":\"t\",\"id\":\"{f}\"}'", "reply: it has an id of its own"),
        ("action = 'accept'\nfield = 'f'", "no use for the key field"),
        ("action = 'accept'\nmembers_only = true", "no use for the key members_only"),
        ("action = 'forward'\nbefore_auth = true", "needs to know who speaks"),
        ("action = 'join'\nchannel = 'x'\nbefore_auth = true", "needs to know who speaks"),
        (
            "action = 'accept'\nbefore_auth = true\nreply = '{\"type\":\"t\",\"a\":\"{user_id}\"}'",
            "there is no {user_id} here",
        ),
        ("action = 'join'\nchannel = 'x:{h}'", "there is no {h} here"),
        ("action = 'join'\nchannel = 'x:{g}'", "{g} is no text"),
        ("action = 'join'\nchannel = 'x:{o}'", "{o} is no text, or may be missing"),
        (
            "action = 'forward'\nservice = 'postman'",
            "there is no service postman: neither one of [[services]] nor local, location",
        ),
        ("action = 'forward'\nchannel = 'x'", "needs the key message"),
        ("action = 'typing'\nchannel = 'x'\nflag = 'f'", "there is no required field f of a type"),
        ("action = 'locate'\nchannel = 'x'\nmessage = 'x'", "there is no required field latitude"),
        ("action = 'confirm'\nfield = 'o'", "there is no required field o"),
        ("action = 'accept'\nfields.n = { type = 'number', min = 2, max = 1 }", "the field n has a range"),
    ] {
        let fields = if rest.contains("fields.n") { "" } else { fields };
        let errors = errors_of(&format!("\n\n[[routes]]\ntype = 'b'\n{fields}{rest}"));
        assert_eq!(errors.len(), 1, "{rest}: {errors:?}");
        let line = errors[0].to_string();
        assert!(line.starts_with("own.toml, line 3: route b: ") && line.contains(words), "{rest}: {line}");
    }
}

/// Each of these was a route that could be read, and that nobody could have used, or everybody.
#[test]
fn a_route_that_nobody_could_use_is_refused_with_what_would_be_right() {
    let reply = "reply = '{\"type\":\"t\",\"l\":\"{list}\"}'";
    let of_list = |keys: &str| format!("type = 'b'\naction = 'subscribe'\nfield = 'l'\n{reply}\n{keys}");
    let joining =
        |channel: &str| format!("type = 'b'\naction = 'join'\nfields = {{ to = 'id' }}\nchannel = \"{channel}\"");
    let accepting = |keys: &str| format!("type = 'b'\naction = 'accept'\n{keys}");
    let is_a_name = "it can be no channel's name: 1 to 255 bytes without blanks";
    let by_oneself = "nobody joins, leaves or lists it by himself";
    let mut wrong = Vec::new();
    for (route, words) in [
        ("type = ''\naction = 'accept'".to_owned(), "type: a message's type is not empty"),
        (accepting("when = ''"), "when: a field's name is not empty"),
        (accepting("when = 'payload'"), "when: the fields of a message stand in payload"),
        (
            accepting("roles = []"),
            "roles: it names nobody; for everybody leave it out, for nobody the action is refuse",
        ),
        (accepting("fields = { payload = 'object' }"), "fields: the fields of a message stand in payload"),
        (accepting("optional = { payload = 'object' }"), "optional: the fields of a message stand in payload"),
        (accepting("optional = { \"\" = 'id' }"), "optional: a field's name is not empty"),
        (accepting("fields = { f = 'id' }\noptional = { f = 'text' }"), "the field f is in fields and in optional"),
        (accepting("fields = { f = { type = 'text', one_of = [] } }"), "the field f has a one_of that is empty"),
        (accepting("fields = { f = { type = 'integer', min = 0.1, max = 0.9 } }"), "the field f has a range"),
        (joining(""), is_a_name),
        (joining("a b"), is_a_name),
        (joining("a\\n:{to}"), is_a_name),
        (joining(&"a".repeat(256)), is_a_name),
        (joining(&("é".repeat(128) + "{to}")), is_a_name),
        (joining("all"), by_oneself),
        (joining("user:{to}"), by_oneself),
        (joining("type:x").replace("join", "leave"), by_oneself),
        (joining("user:{user_id}").replace("join", "presence"), by_oneself),
        (of_list("channel = 'cell:{l}'"), by_oneself),
        (of_list("channel = 'a b:{l}'"), is_a_name),
        (of_list("channel = 'a:{who}:{l}'"), "channel: there is no {who} here"),
        (of_list("channel = 'a:{o}:{l}'\noptional = { o = 'id' }"), "channel: {o} is no text, or may be missing"),
        (of_list("channel = 'a:{g}:{l}'\nfields = { g = 'object' }"), "channel: {g} is no text"),
        (of_list("channel = '{l}'").replace("'l'", "'payload'"), "field: the fields of a message stand in payload"),
    ] {
        match Routes::compile(&Vocabulary::ALL, &own(&format!("\n[[routes]]\n{route}\n")), &[], 255) {
            Ok(_) => wrong.push(format!("{route}\ncan be used")),
            Err(errors) => {
                let told = errors[0].to_string();
                if errors.len() != 1 || !told.starts_with("own.toml, line 2: route ") || !told.contains(words) {
                    wrong.push(format!("{route}\n{errors:?}\n{told}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // What is just short enough, and what only begins like a channel that is nobody's to join.
    with(
        &["allies:{to}", &"a".repeat(255)]
            .map(|name| format!("[[routes]]\n{}\n", joining(name)).replace("'b'", &format!("'{name}'")))
            .concat(),
    );
}

#[test]
fn what_no_route_is_made_of_is_named_with_its_line() {
    for (text, word) in [
        ("[[routes]]\ntype = \"a\"\naction = \"fly\"", "fly"),
        ("[[routes]]\ntype = \"a\"\nactoin = \"ping\"", "actoin"),
        ("[[routes]]\ntype = \"a\"\naction = \"ping\"\nreply = 7", "invalid type"),
        (
            "[[routes]]\ntype = \"a\"\naction = \"ping\"\nfields = { f = 'float' }",
            "`float`, expected one of `id`, `text`",
        ),
        ("[[routes]]\ntype = \"a\"\naction = \"ping\"\nfields = { f = 'float' }", "in `routes.fields.f`"),
        (
            "[[routes]]\ntype = \"a\"\naction = \"ping\"\nfields.f = { type = 'text', bytes_max = -1 }",
            "`-1`, expected usize in `routes.fields.f.bytes_max`",
        ),
        ("[[routes]]\ntype = \"a\"\naction = \"ping\"\nfields = { f = { type = 'text', words_max = 1 } }", "words_max"),
        (
            "[[routes]]\ntype = \"a\"\naction = \"ping\"\nfields = { f = 7 }",
            "expected the name of a type, or a table with it",
        ),
    ] {
        let error = Definitions::read("own.toml", text).err().unwrap_or_else(|| panic!("{text} can be read"));
        assert!(error.line >= 1 && error.message.contains(word), "{text}: {error:?}");
    }
}
