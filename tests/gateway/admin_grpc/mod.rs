//! Promise: what can be posted to the admin port can be called over gRPC as well, with the same effect, for whoever has
//! the token, within the same limits.

mod patience;
mod raw;
mod stuck;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use ringway::proto::admin::v1::admin_service_client::AdminServiceClient;
use ringway::proto::admin::v1::broadcast_request::To;
use ringway::proto::admin::v1::{
    BroadcastRequest, DisconnectRequest, PresenceRequest, PublishReply, PublishRequest, StatsRequest,
};
use tokio::runtime::Runtime;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use raw::Raw;

use crate::support::blocks::blocks;
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::ports;
use crate::support::tokens::token;
use crate::support::wait::{DEADLINE, PAUSE, eventually};
use crate::support::wire;

const SHORT: &str = "300ms";

/// A gateway with a port for gRPC, and a client of it.
struct Port {
    gateway: Gateway,
    address: SocketAddr,
    runtime: Runtime,
}

/// Shows a token, if there is one.
#[derive(Clone)]
struct Shows(Option<String>);

impl Interceptor for Shows {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(shown) = &self.0 {
            let value = MetadataValue::try_from(shown.as_str()).expect("visible");
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

type Caller = AdminServiceClient<InterceptedService<Channel, Shows>>;

impl Port {
    fn start(config: Config) -> Port {
        let address = ports::free();
        let gateway = Gateway::start(config.set("admin.grpc_listen", address.to_string()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Port { gateway, address, runtime }
    }

    fn caller(&self, shown: Option<&str>) -> Caller {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        let channel = self.runtime.block_on(endpoint.connect()).expect("it listens");
        AdminServiceClient::with_interceptor(channel, Shows(shown.map(str::to_owned)))
    }

    /// Calls, within the deadline of all tests.
    #[track_caller]
    fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        let timed = async { tokio::time::timeout(DEADLINE, call).await };
        self.runtime.block_on(timed).expect("an answer")
    }

    /// As the one of all tests, while what the clients have to do goes on.
    #[track_caller]
    fn eventually(&self, what: &str, mut condition: impl FnMut() -> bool) {
        eventually(what, || {
            self.runtime.block_on(async { tokio::time::sleep(PAUSE).await });
            condition()
        });
    }
}

fn publish(channels: &[&str], message: &str) -> PublishRequest {
    let channels = channels.iter().map(|name| (*name).to_owned()).collect();
    PublishRequest { channels, message: message.into(), ..PublishRequest::default() }
}

fn broadcast(to: Option<To>, message: &str) -> BroadcastRequest {
    BroadcastRequest { to, message: message.into(), user_type: None, platform: None }
}

/// The word of the table of errors.
fn word(status: &Status) -> &str {
    status.metadata().get("ringway-code").and_then(|value| value.to_str().ok()).unwrap_or("")
}

#[test]
fn every_method_does_what_its_http_counterpart_does() {
    let config = Config::new().list("presence.channels", &["room:*"]).set("server.id", "node-1");
    let port = Port::start(config);
    let mut admin = port.caller(None);
    let mut ana = Client::connect_at(&port.gateway, "/ws?userType=driver", &token("ana"));
    let mut bob = Client::connect(&port.gateway, &token("bob"));
    // Nobody is told of himself.
    ana.subscribe(&["conv:c1", "room:1"]);
    bob.subscribe(&["conv:c1", "conv:c2"]);

    // Any text, also what is no JSON.
    let published = port.wait(admin.publish(publish(&["conv:c1", "conv:c2"], "x {"))).expect("published").into_inner();
    assert_eq!(published, PublishReply { delivered: 3, ..PublishReply::default() });
    assert_eq!((ana.next_text(), bob.next_text(), bob.next_text()), ("x {".into(), "x {".into(), "x {".into()));
    let narrowed = PublishRequest { user_type: Some("driver".into()), ..publish(&["conv:c1"], "drivers") };
    assert_eq!(port.wait(admin.publish(narrowed)).expect("published").get_ref().delivered, 1);
    assert_eq!(ana.next_text(), "drivers");
    let notification = publish(&["user:ana"], r#"{"type":"notification","id":"n1"}"#);
    assert_eq!(port.wait(admin.publish(notification)).expect("published").get_ref().kept, Some(true));
    ana.expect_type("notification");

    let session = port.gateway.admin().connection_of("bob").session_id;
    for (to, delivered) in [
        (To::UserId("bob".into()), 1),
        (To::Channel("conv:c2".into()), 1),
        (To::SessionId(session), 1),
        (To::SessionId("no session".into()), 0),
        (To::All(true), 2),
    ] {
        let reply = port.wait(admin.broadcast(broadcast(Some(to.clone()), "all"))).expect("broadcast");
        assert_eq!(reply.get_ref().delivered, delivered, "{to:?}");
        if delivered > 0 {
            assert_eq!(bob.next_text(), "all", "{to:?}");
        }
    }
    assert_eq!(ana.next_text(), "all");

    let present = port.wait(admin.presence(PresenceRequest { channel: "room:1".into() })).expect("kept").into_inner();
    assert_eq!((present.user_ids, present.count), (vec!["ana".to_owned()], 1));
    let stats = port.wait(admin.stats(StatsRequest {})).expect("counted").into_inner();
    assert_eq!((stats.server_id.as_str(), stats.total_connections, stats.unique_users), ("node-1", 2, 2));
    assert_eq!(stats.by_user_type.get("driver"), Some(&1));

    let away = DisconnectRequest { user_id: "bob".into(), for_seconds: 60 };
    let ended = port.wait(admin.disconnect(away)).expect("disconnected").into_inner();
    assert_eq!((ended.disconnected, ended.until > 0), (1, true));
    assert_eq!(bob.expect_close(), wire::CLOSE_DISCONNECTED);
    let bearer = format!("Bearer {}", token("bob"));
    let refused = Client::upgrade(&port.gateway, "/ws", &[("Authorization", &bearer)]).err().expect("kept out");
    assert_eq!(refused.status, 403);
}

#[test]
fn what_is_refused_says_why_in_the_words_of_the_http_port() {
    let port = Port::start(Config::new());
    let mut admin = port.caller(None);
    let large = "x".repeat(9 << 20);
    for (request, code, expected) in [
        (publish(&["conv:c1"], ""), Code::InvalidArgument, "body_empty"),
        (publish(&[], "x"), Code::InvalidArgument, "bad_batch"),
        (publish(&["a", "b"], &large), Code::ResourceExhausted, "body_too_large"),
        (
            PublishRequest { idempotency_key: Some(String::new()), ..publish(&["conv:c1"], "x") },
            Code::InvalidArgument,
            "bad_key",
        ),
    ] {
        let status = port.wait(admin.publish(request)).expect_err(expected);
        assert_eq!((status.code(), word(&status)), (code, expected));
    }
    // Refused before it has come whole: what a client sees of that depends on how far it has got.
    assert!(port.wait(admin.publish(publish(&["conv:c1"], &large.repeat(2)))).is_err());
    let narrowed = |to| BroadcastRequest { user_type: Some("driver".into()), ..broadcast(Some(to), "x") };
    for request in [broadcast(None, "x"), broadcast(Some(To::All(false)), "x"), narrowed(To::SessionId("s".into()))] {
        let status = port.wait(admin.broadcast(request)).expect_err("bad");
        assert_eq!((status.code(), word(&status)), (Code::InvalidArgument, "bad_query"));
    }
    let status = port.wait(admin.presence(PresenceRequest { channel: "conv:c1".into() })).expect_err("not kept");
    assert_eq!((status.code(), word(&status)), (Code::NotFound, "no_presence"));
    for for_seconds in [1, u64::MAX] {
        let disconnect = DisconnectRequest { user_id: "\0".into(), for_seconds };
        let status = port.wait(admin.disconnect(disconnect)).expect_err("bad");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    assert_eq!(port.wait(admin.stats(StatsRequest {})).expect("it goes on").get_ref().total_connections, 0);
}

#[test]
fn the_largest_message_may_come_in_each_way() {
    const LARGEST: usize = 16 << 20;
    let port = Port::start(Config::new());
    let mut admin = port.caller(None);
    let mut all = |bytes: usize| {
        let message = "x".repeat(bytes);
        let one = port.wait(admin.publish(publish(&["conv:c1"], &message)));
        let to_all = port.wait(admin.broadcast(broadcast(Some(To::All(true)), &message)));
        let many = port.wait(async {
            let many = stream::iter([publish(&["conv:c1"], &message)]);
            let mut answers = admin.publish_many(many).await.expect("a stream").into_inner();
            answers.next().await.expect("an answer").expect("the stream goes on")
        });
        let word = |one: Result<_, Status>| one.map_or_else(|status| word(&status).to_owned(), |_| String::new());
        [word(one), word(to_all), many.error.map_or_else(String::new, |error| error.code)]
    };
    assert_eq!(all(LARGEST), [""; 3]);
    assert_eq!(all(LARGEST + 1), ["body_too_large"; 3]);
    // Of a stream it is seen before it comes.
    let end = port.wait(async {
        let (say, mut answers) = Raw::connect(port.address).await.publish_many().await;
        say.send(Bytes::from_static(&[0, 2, 0, 0, 0])).expect("it is asked for");
        answers.next().await
    });
    assert_eq!(end, Err((Code::ResourceExhausted, "body_too_large".into())));
}

#[test]
fn nobody_does_anything_without_the_token() {
    let text =
        blocks("docs/integrations/grpc.md").into_iter().find(|block| block.info == "toml admin").expect("a block");
    let port = Port::start(Config::new().with(&text.text));
    let right = "Bearer a long secret of the backends";
    for (shown, expected) in [
        (None, "token_missing"),
        (Some("a long secret of the backends"), "token_missing"),
        (Some("Bearer a long secret of the backend"), "token_invalid"),
    ] {
        let mut admin = port.caller(shown);
        let status = port.wait(admin.stats(StatsRequest {})).expect_err(expected);
        assert_eq!((status.code(), word(&status)), (Code::Unauthenticated, expected));
        let many = stream::iter([publish(&["all"], "x")]);
        let status = port.wait(admin.publish_many(many)).expect_err(expected);
        assert_eq!((status.code(), word(&status)), (Code::Unauthenticated, expected));
    }
    let mut admin = port.caller(Some(right));
    assert!(port.wait(admin.stats(StatsRequest {})).is_ok());
}

#[test]
fn of_many_messages_each_has_its_answer_and_all_come_in_order() {
    const MESSAGES: usize = 3000;
    let port = Port::start(Config::new());
    let mut admin = port.caller(None);
    let mut ana = Client::connect(&port.gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    let of = |n: usize| match n % 100 {
        98 => publish(&["conv:c1"], ""),
        99 => publish(&["conv:nobody"], &n.to_string()),
        _ => publish(&["conv:c1"], &n.to_string()),
    };
    let replies = port.wait(async {
        let answers = admin.publish_many(stream::iter((0..MESSAGES).map(of))).await.expect("a stream").into_inner();
        answers.collect::<Vec<_>>().await
    });
    assert_eq!(replies.len(), MESSAGES);
    for (n, reply) in replies.into_iter().enumerate() {
        let reply = reply.expect("the stream goes on");
        let code = reply.error.as_ref().map_or("", |error| error.code.as_str());
        let expected = [(1, ""), (0, "body_empty"), (0, "")][(n % 100).saturating_sub(97).min(2)];
        assert_eq!((reply.delivered, code), expected, "{n}");
    }
    for n in (0..MESSAGES).filter(|n| n % 100 < 98) {
        assert_eq!(ana.next_text(), n.to_string());
    }
}

#[test]
fn under_one_key_a_message_is_published_once_also_in_a_stream() {
    let port = Port::start(Config::new());
    let mut admin = port.caller(None);
    let mut ana = Client::connect(&port.gateway, &token("ana"));
    let keyed =
        |message: &str| PublishRequest { idempotency_key: Some("k1".into()), ..publish(&["user:ana"], message) };
    for _ in 0..2 {
        assert_eq!(port.wait(admin.publish(keyed("once"))).expect("published").get_ref().delivered, 1);
    }
    let many =
        vec![publish(&["user:ana"], "before"), keyed("once"), keyed("another"), publish(&["user:ana"], "behind")];
    let replies: Vec<_> = port.wait(async {
        admin.publish_many(stream::iter(many)).await.expect("a stream").into_inner().map(Result::unwrap).collect().await
    });
    let told = replies.iter().map(|reply| (reply.delivered, reply.error.as_ref().map_or("", |error| &error.code)));
    assert_eq!(told.collect::<Vec<_>>(), [(1, ""), (1, ""), (0, "key_reused"), (1, "")]);
    assert_eq!([(); 3].map(|()| ana.next_text()), ["once", "before", "behind"]);
}

#[test]
fn a_port_that_is_not_asked_for_is_not_there() {
    let gateway = Gateway::start(Config::new());
    let stats = gateway.admin().get("/stats");
    assert_eq!(stats.status, 200);
    // The HTTP port does not speak it either.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoint = Endpoint::from_shared(format!("http://{}", gateway.admin().address)).expect("an address");
    let called = runtime.block_on(async {
        let mut admin = AdminServiceClient::new(endpoint.connect_lazy());
        tokio::time::timeout(DEADLINE, admin.stats(StatsRequest {})).await.expect("an end")
    });
    assert!(called.is_err());
    eventually("it goes on", || gateway.admin().get("/stats").status == 200);
}
