//! Whatever services say, in whatever order: any script of calls, answers, silence and departures.

use super::*;

/// Something that happens. Numbers choose among what is there at that moment.
#[derive(Clone, Debug)]
enum Act {
    Connect,
    Call {
        who: u8,
        kind: bool,
        has_reply: bool,
    },
    /// To any call that ever was.
    Respond {
        call: u16,
        part: u8,
        bytes: u16,
    },
    Refuse(bool),
    Stall(u8, bool),
    Vanish(u8),
    SayClose(u8),
    Pass(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Connect),
        10 => any::<(u8, bool, bool)>().prop_map(|(who, kind, has_reply)| Act::Call { who, kind, has_reply }),
        // One part of each type may be on its way at once: with errors for all other calls they fit into an outbox.
        20 => (any::<u16>(), any::<u8>(), 0u16..10_000)
            .prop_map(|(call, part, bytes)| Act::Respond { call, part, bytes }),
        1 => any::<bool>().prop_map(Act::Refuse),
        3 => any::<(u8, bool)>().prop_map(|(who, stalled)| Act::Stall(who, stalled)),
        1 => any::<u8>().prop_map(Act::Vanish),
        1 => any::<u8>().prop_map(Act::SayClose),
        2 => (0u16..2000).prop_map(Act::Pass),
    ]
}

/// A call and what the service said to it.
struct Asked {
    client: usize,
    kind: &'static str,
    /// None: the service refused it.
    ticket: Option<Ticket>,
    said: Vec<(Told, String)>,
}

struct Scene {
    shard: Shard,
    outside: Arc<Outside>,
    clients: Vec<Client>,
    asked: Vec<Asked>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let outside = Arc::<Outside>::default();
        let shard = Shard::with(seed, |rules| rules.services = outside.services());
        Self { shard, outside, clients: Vec::new(), asked: Vec::new() }
    }

    fn play(&mut self, act: &Act) {
        let who = |who: u8, clients: &[Client]| usize::from(who) % clients.len().max(1);
        match *act {
            Act::Connect if self.clients.len() < 6 => {
                let client = self.shard.client(&format!("u{}", self.clients.len()));
                self.clients.push(client);
            }
            Act::Refuse(refuses) => *lock(&self.outside.refuses) = refuses.then_some(Failure::Away),
            Act::Pass(ms) => self.shard.pass(ms.into()),
            Act::Call { who: client, kind, has_reply } if !self.clients.is_empty() => {
                self.call(who(client, &self.clients), if kind { "chat" } else { "ask" }, has_reply);
            }
            Act::Respond { call, part, bytes } if !self.asked.is_empty() => {
                self.respond(usize::from(call) % self.asked.len(), part, bytes);
            }
            Act::Stall(client, stalled) if !self.clients.is_empty() => {
                self.clients[who(client, &self.clients)].peer.stall(stalled);
            }
            Act::Vanish(client) if !self.clients.is_empty() => self.clients[who(client, &self.clients)].peer.close(),
            Act::SayClose(client) if !self.clients.is_empty() => {
                self.clients[who(client, &self.clients)].say_close(1000);
            }
            _ => {}
        }
    }

    fn call(&mut self, client: usize, kind: &'static str, has_reply: bool) {
        let id = self.asked.len();
        if !self.is_open(client) {
            return;
        }
        let reply = has_reply.then(|| format!(r#"{{"call":{id},"reply":true}}"#));
        let before = lock(&self.outside.calls).len();
        if self.shard.call_with(&self.clients[client], kind, id, reply).is_ok() {
            let ticket = lock(&self.outside.calls).get(before).map(|call| call.ticket);
            self.asked.push(Asked { client, kind, ticket, said: Vec::new() });
        }
    }

    fn is_open(&self, client: usize) -> bool {
        let Client { id, peer, .. } = &self.clients[client];
        let is_alive = |slot: u32| self.shard.floor.wire.connections[slot as usize].is_alive();
        !peer.is_closed() && self.shard.floor.is_current(*id) && is_alive(id.slot)
    }

    fn respond(&mut self, call: usize, part: u8, bytes: u16) {
        let Asked { client, ticket: Some(ticket), said, .. } = &mut self.asked[call] else { return };
        let text = format!(r#"{{"call":{call},"n":{},"x":"{}"}}"#, said.len(), "x".repeat(bytes.into()));
        let (part, text) = match part % 8 {
            0 => (Part::Taken, String::new()),
            1 => (Part::message(&text), text),
            2 => (Part::Failed(Failure::Refused), String::new()),
            _ => (Part::more(&text), text),
        };
        let told = self.shard.respond(self.clients[*client].id, *ticket, part);
        said.push((told, text));
    }

    /// What each client that stayed has heard about each of its calls.
    fn check(&mut self) {
        for client in 0..self.clients.len() {
            let heard: Vec<String> = self.clients[client].heard().into_iter().filter_map(text_of).collect();
            // Who has gone may have missed the end, but what he heard was his and in order.
            let stayed = self.is_open(client);
            let calls: Vec<Value> = heard.iter().map(|text| serde_json::from_str(text).expect("whole JSON")).collect();
            let number = |value: &Value| value["call"].as_u64().or(value["id"].as_u64()).expect("a number") as usize;
            assert!(calls.iter().all(|value| self.asked[number(value)].client == client), "another one's answer");
            for kind in ["chat", "ask"] {
                let of_kind = calls.iter().map(&number).filter(|call| self.asked[*call].kind == kind);
                assert!(of_kind.is_sorted(), "out of order");
            }
            for (call, asked) in self.asked.iter().enumerate().filter(|(_, asked)| asked.client == client) {
                let about = calls.iter().zip(&heard).filter(|(value, _)| number(value) == call);
                let (values, texts): (Vec<_>, Vec<_>) = about.unzip();
                asked.check(&values, &texts, stayed);
            }
        }
    }
}

fn text_of(said: Said) -> Option<String> {
    match said {
        Said::Text(text) => Some(text),
        _ => None,
    }
}

impl Asked {
    fn check(&self, values: &[&Value], texts: &[&String], stayed: bool) {
        let fates: Vec<Option<Fate>> = self.said.iter().map(|(told, _)| *lock(told)).collect();
        assert!(fates.iter().all(Option::is_some), "nobody is left waiting: {fates:?}");
        let gone = fates.iter().position(|fate| *fate == Some(Fate::Gone)).unwrap_or(fates.len());
        assert!(fates[gone..].iter().all(|fate| *fate == Some(Fate::Gone)), "nothing follows a gap: {fates:?}");
        let released = self.said[..gone].iter().map(|(_, text)| text).filter(|text| !text.is_empty());
        let messages = texts.iter().copied().filter(|text| text.contains(r#""n":"#));
        match stayed {
            true => assert!(messages.eq(released), "what was released was heard, in order, once"),
            false => assert!(messages.zip(released).all(|(heard, released)| heard == released)),
        }
        let ends: Vec<usize> =
            (0..values.len()).filter(|at| values[*at]["reply"] == true || values[*at]["type"] == "error").collect();
        assert!(ends.len() <= 1 && ends.iter().all(|at| *at == values.len() - 1), "an end is one and last: {values:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_services_say_each_client_hears_its_own_answers_in_order_and_once(
        seed in any::<u64>(),
        acts in prop::collection::vec((act(), any::<bool>()), 1..150),
    ) {
        let mut scene = Scene::new(seed);
        for (act, settles) in &acts {
            scene.play(act);
            match settles {
                true => scene.shard.settle(),
                false => drop(scene.shard.floor.turn(scene.shard.clock.now())),
            }
            scene.shard.floor.state.calls.check();
        }
        scene.clients.iter().for_each(|client| client.peer.stall(false));
        scene.shard.pass(TIMEOUT_MS * 5);
        prop_assert!(scene.shard.floor.state.calls.is_empty(), "every call ends");
        let service = scene.shard.floor.state.rules.services.find("outside").unwrap();
        prop_assert_eq!(scene.shard.floor.state.calls.counters(service).outstanding.get(), 0);
        scene.check();
        prop_assert_eq!(scene.shard.closed("too_slow"), 0);
    }
}
