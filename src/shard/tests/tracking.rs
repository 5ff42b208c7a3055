//! Vendors who move, and users who follow them by name or by where they are.

use std::sync::Arc;

use crate::auth::Grants;
use crate::geo::Position;
use crate::geo::circle::{RADIUS_MAX_M, RADIUS_MIN_M};
use crate::geo::position::EARTH_RADIUS_M;
use crate::lane::{Command, Near, Publication};
use crate::ws::frame::encode_text;

use super::client::Client;
use super::{SHARD, Shard, arrival, under_faults_with};

/// Degrees of latitude in a metre.
const METRE: f64 = 180.0 / std::f64::consts::PI / EARTH_RADIUS_M;

fn under_faults(promise: impl Fn(Shard)) {
    under_faults_with(|rules| rules.default_grants = Grants::all(), promise);
}

impl Shard {
    fn vendor(&mut self, user: &str) -> Client {
        self.client_with(user, |identity, _| identity.user_type = Some("vendor".into()))
    }

    /// A client with a circle.
    fn neighbour(&mut self, user: &str, (latitude, longitude): (f64, f64), radius_m: f64) -> Client {
        let mut client = self.client(user);
        self.move_circle(&mut client, (latitude, longitude), radius_m);
        client
    }

    fn move_circle(&mut self, client: &mut Client, (latitude, longitude): (f64, f64), radius_m: f64) {
        client.say(&watch(&latitude.to_string(), &longitude.to_string(), &radius_m.to_string()));
        self.settle();
        let answer = client.texts();
        assert!(answer.len() == 1 && answer[0].contains(r#""status":"subscribed""#), "{answer:?}");
    }

    /// Has a vendor tell where he is, and everybody hear it.
    fn locate(&mut self, vendor: &Client, (latitude, longitude): (f64, f64)) {
        vendor.say(&location(latitude, longitude));
        self.settle();
    }
}

fn watch(latitude: &str, longitude: &str, radius_m: &str) -> String {
    format!(r#"{{"type":"subscribe_nearby","latitude":{latitude},"longitude":{longitude},"radius":{radius_m}}}"#)
}

fn location(latitude: f64, longitude: f64) -> String {
    format!(r#"{{"type":"location_update","payload":{{"latitude":{latitude},"longitude":{longitude}}}}}"#)
}

/// What a follower hears of it.
fn told(vendor: &str, (latitude, longitude): (f64, f64)) -> String {
    let place = format!(r#""latitude":{latitude},"longitude":{longitude}"#);
    format!(r#"{{"type":"vendor_location","payload":{{"vendorId":"{vendor}",{place}}}}}"#)
}

/// By the haversine formula, in metres.
fn distance_m(one: (f64, f64), other: (f64, f64)) -> f64 {
    let [lat1, lng1, lat2, lng2] = [one.0, one.1, other.0, other.1].map(f64::to_radians);
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS_M * (half(lat2 - lat1) + lat1.cos() * lat2.cos() * half(lng2 - lng1)).sqrt().asin()
}

#[test]
fn nobody_is_near_himself_but_his_other_devices_are() {
    under_faults(|mut shard| {
        let here = (48.2082, 16.3738);
        let mut vendor = shard.vendor("v1");
        shard.move_circle(&mut vendor, here, 500.0);
        let mut device = shard.neighbour("v1", here, 500.0);
        shard.locate(&vendor, here);
        assert_eq!((vendor.texts(), device.texts()), (vec![], vec![told("v1", here)]));
        // Who follows himself has asked for it.
        vendor.say(r#"{"type":"subscribe_vendor","vendorId":"v1"}"#);
        shard.settle();
        vendor.texts();
        shard.locate(&vendor, here);
        assert_eq!((vendor.texts(), device.texts()), (vec![told("v1", here)], vec![told("v1", here)]));
    });
}

#[test]
fn whoever_crosses_borders_of_cells_is_told_at_every_step_to_those_he_is_near_and_once() {
    under_faults(|mut shard| {
        let centre = (48.2082, 16.3738);
        // In grids of several sizes; one follows by name and by place.
        let radii_m = [100.0, 450.0, 1_500.0, 30_000.0, 1_500.0];
        let mut neighbours: Vec<_> = radii_m
            .iter()
            .enumerate()
            .map(|(n, radius_m)| shard.neighbour(&format!("n{n}"), centre, *radius_m))
            .collect();
        neighbours[4].say(r#"{"type":"subscribe_vendor","vendorId":"v1"}"#);
        shard.settle();
        assert_eq!(neighbours[4].texts().len(), 1);
        let vendor = shard.vendor("v1");
        let mut heard = [0; 5];
        for step in -60..=60 {
            let here = (centre.0 + f64::from(step) * 31.0 * METRE, centre.1 + f64::from(step) * 17.0 * METRE);
            shard.locate(&vendor, here);
            for (n, neighbour) in neighbours.iter_mut().enumerate() {
                let is_told = distance_m(centre, here) <= radii_m[n] || n == 4;
                let expected = if is_told { vec![told("v1", here)] } else { vec![] };
                assert_eq!(neighbour.texts(), expected, "step {step}, {} m", radii_m[n]);
                heard[n] += usize::from(is_told);
            }
        }
        assert!(heard[0] < heard[1] && heard[1] < heard[2] && heard[2] < heard[3] && heard[4] == 121, "{heard:?}");
    });
}

#[test]
fn a_metre_beyond_the_rim_is_beyond_it() {
    under_faults(|mut shard| {
        for (latitude, radius_m) in [(0.0, RADIUS_MIN_M + 1.0), (48.2, 500.0), (-77.5, RADIUS_MAX_M)] {
            let mut ann = shard.neighbour("ann", (latitude, 16.0), radius_m);
            let vendor = shard.vendor("v1");
            let north = |metres: f64| (latitude + metres * METRE, 16.0);
            shard.locate(&vendor, north(radius_m + 1.0));
            shard.locate(&vendor, north(-radius_m - 1.0));
            assert_eq!(ann.texts(), [""; 0]);
            shard.locate(&vendor, north(radius_m - 1.0));
            assert_eq!(ann.texts(), [told("v1", north(radius_m - 1.0))]);
            [ann, vendor].iter().for_each(|client| client.peer.close());
        }
        shard.settle();
        shard.assert_empty();
    });
}

#[test]
fn poles_and_the_antimeridian_are_places_like_all_others() {
    under_faults(|mut shard| {
        let vendor = shard.vendor("v1");
        for (centre, near, far) in [
            ((10.0, 179.999), (10.0, -179.999), (10.0, -179.98)),
            ((10.0, -180.0), (10.0, 180.0), (10.02, 180.0)),
            ((89.999, 0.0), (89.999, 180.0), (89.98, 180.0)),
            ((90.0, 17.0), (89.999, -90.0), (89.97, -90.0)),
            ((-90.0, 0.0), (-89.999, 123.0), (-89.97, 123.0)),
        ] {
            let mut ann = shard.neighbour("ann", centre, 1_000.0);
            assert!(distance_m(centre, near) < 1_000.0 && distance_m(centre, far) > 1_000.0);
            shard.locate(&vendor, near);
            assert_eq!(ann.texts(), [told("v1", near)]);
            shard.locate(&vendor, far);
            assert_eq!(ann.texts(), [""; 0]);
            ann.peer.close();
            shard.settle();
        }
    });
}

#[test]
fn a_circle_takes_the_place_of_the_one_before_and_goes_when_it_is_left() {
    under_faults(|mut shard| {
        let (here, there) = ((48.2, 16.3), (48.3, 16.3));
        let mut ann = shard.neighbour("ann", here, 500.0);
        let vendors = ["v1", "v2"].map(|user| shard.vendor(user));
        let places = [here, there];
        let heard = |shard: &mut Shard, ann: &mut Client| {
            (0..2).for_each(|n| shard.locate(&vendors[n], places[n]));
            ann.texts()
        };
        assert_eq!(heard(&mut shard, &mut ann), [told("v1", here)]);
        shard.move_circle(&mut ann, there, 500.0);
        assert_eq!(heard(&mut shard, &mut ann), [told("v2", there)]);
        // Larger, in another grid; and moved by a few metres within its cell.
        shard.move_circle(&mut ann, there, 20_000.0);
        assert_eq!(heard(&mut shard, &mut ann), [told("v1", here), told("v2", there)]);
        shard.move_circle(&mut ann, (there.0 + METRE, there.1), 20_000.0);
        assert_eq!(heard(&mut shard, &mut ann).len(), 2);
        for status in [r#""status":"unsubscribed""#, r#""code":"not_subscribed""#] {
            ann.say(r#"{"type":"unsubscribe_nearby"}"#);
            shard.settle();
            let answer = ann.texts();
            assert!(answer.len() == 1 && answer[0].contains(status), "{answer:?}");
            assert_eq!(heard(&mut shard, &mut ann), [""; 0]);
        }
        shard.move_circle(&mut ann, here, 500.0);
        ann.peer.close();
        vendors.iter().for_each(|vendor| vendor.peer.close());
        shard.settle();
        shard.assert_empty();
    });
}

#[test]
fn a_slow_client_gets_the_latest_place_of_every_vendor() {
    under_faults(|mut shard| {
        let here = (48.2, 16.3);
        let mut ann = shard.neighbour("ann", here, 5_000.0);
        // Some are followed by name as well, which makes no difference.
        ann.say(r#"{"type":"subscribe_vendor","vendorId":"v3"}"#);
        shard.settle();
        assert_eq!(ann.texts().len(), 1);
        let vendors: Vec<_> = (0..8).map(|n| shard.vendor(&format!("v{n}"))).collect();
        ann.peer.stall(true);
        let place = |vendor: usize, step: i32| (here.0 + f64::from(step) * METRE, here.1 + vendor as f64 * METRE);
        shard.locate(&vendors[0], place(0, -1));
        for step in 0..200 {
            (0..8).for_each(|n| {
                vendors[n].say(&{
                    let (latitude, longitude) = place(n, step);
                    location(latitude, longitude)
                })
            });
            shard.settle();
        }
        ann.peer.stall(false);
        shard.settle();
        assert_eq!(shard.closed("too_slow"), 0);
        let mut heard = ann.texts();
        assert_eq!(heard.remove(0), told("v0", place(0, -1)), "it was under way");
        heard.sort();
        let latest: Vec<_> = (0..8).map(|n| told(&format!("v{n}"), place(n, 199))).collect();
        assert_eq!(heard, latest);
    });
}

#[test]
fn many_followers_get_the_latest_place_of_every_vendor_they_are_near() {
    for seed in 0..3 {
        let mut shard = Shard::with_capacity(seed, 400, |rules| rules.default_grants = Grants::all());
        let here = (48.2, 16.3);
        let mut crowd: Vec<_> = (0..300).map(|n| shard.adopt(arrival(&format!("u{n}")))).collect();
        // The circles of half of them, in the same cells, end before the vendors.
        let radius_m = |n: usize| if n.is_multiple_of(2) { 900.0 } else { 850.0 };
        let place =
            |vendor: usize, step: i32| (here.0 + 870.0 * METRE, here.1 + (vendor as f64 + f64::from(step)) * METRE);
        for (n, client) in crowd.iter_mut().enumerate() {
            client.say(&watch(&here.0.to_string(), &here.1.to_string(), &radius_m(n).to_string()));
            shard.settle();
            client.heard();
        }
        let vendors: Vec<_> = (0..3).map(|n| shard.vendor(&format!("v{n}"))).collect();
        for step in 0..10 {
            (0..3).for_each(|n| vendors[n].say(&location(place(n, step).0, place(n, step).1)));
        }
        shard.settle();
        for (n, client) in crowd.iter_mut().enumerate() {
            let heard = client.texts();
            for vendor in 0..3 {
                let own: Vec<_> = heard.iter().filter(|text| text.contains(&format!(r#""v{vendor}""#))).collect();
                let last = if n.is_multiple_of(2) { Some(told(&format!("v{vendor}"), place(vendor, 9))) } else { None };
                assert_eq!(own.last().map(|text| (*text).clone()), last, "client {n}");
            }
        }
    }
}

#[test]
fn numbers_that_are_no_place_and_no_circle_are_refused_and_nothing_else_happens() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        let bad = |field: &str| format!("the field {field} has the wrong type or size");
        for (latitude, longitude, radius_m, field) in [
            ("1e999", "16", "500", "latitude"),
            ("-90.0001", "16", "500", "latitude"),
            ("\"NaN\"", "16", "500", "latitude"),
            ("[48]", "16", "500", "latitude"),
            ("48", "180.0001", "500", "longitude"),
            ("48", "-1e308", "500", "longitude"),
            ("48", "16", "0", "radius"),
            ("48", "16", "-0.0", "radius"),
            ("48", "16", "-5", "radius"),
            ("48", "16", "50000.1", "radius"),
            ("48", "16", "1e308", "radius"),
            ("48", "16", "1e-320", "radius"),
            ("48", "16", "\"500\"", "radius"),
        ] {
            ann.say(&watch(latitude, longitude, radius_m));
            shard.settle();
            let answer = ann.texts();
            assert!(
                answer.len() == 1 && answer[0].contains(&bad(field)),
                "{latitude} {longitude} {radius_m}: {answer:?}"
            );
        }
        assert_eq!(shard.floor.state.nearby.circles(), 0);
        for (latitude, longitude) in [("-0.0", "-0.0"), ("90", "-180"), ("1E-400", "1e-999")] {
            ann.say(&watch(latitude, longitude, "1"));
            shard.settle();
            assert!(ann.texts()[0].contains("subscription_confirmed"), "{latitude} {longitude}");
        }
        let mut vendor = shard.vendor("v1");
        for place in
            [r#""latitude":1e999,"longitude":1"#, r#""latitude":1,"longitude":"1""#, r#""latitude":91,"longitude":1"#]
        {
            vendor.say(&format!(r#"{{"type":"location_update",{place}}}"#));
            shard.settle();
            assert_eq!(vendor.errors(), ["bad_field"], "{place}");
        }
    });
}

#[test]
fn the_cells_of_a_circle_are_nobody_elses_business() {
    under_faults(|mut shard| {
        let mut ann = shard.neighbour("ann", (48.2, 16.3), 500.0);
        let cells: Vec<String> = shard.floor.state.table.channels_of(ann.id.slot).map(str::to_owned).collect();
        let cell = cells.iter().find(|name| name.starts_with("cell:")).expect("a cell");
        for message in ["subscribe", "unsubscribe"] {
            ann.say(&format!(r#"{{"type":"{message}","channels":["{cell}"]}}"#));
        }
        shard.settle();
        assert_eq!(ann.errors(), ["not_allowed", "not_subscribed"]);
        // They do not count against the channels that it may join.
        for n in 0..7 {
            ann.subscribe(&format!("conv:{n}"));
        }
        shard.settle();
        assert_eq!(ann.errors(), ["too_many_channels"]);
    });
}

#[test]
fn who_may_not_hear_of_cells_gets_no_circle() {
    under_faults_with(
        |rules| rules.default_grants = Grants::parse(["vendor:v1"]).unwrap(),
        |mut shard| {
            let mut ann = shard.client("ann");
            ann.say(&watch("48", "16", "500"));
            shard.settle();
            assert_eq!(ann.errors(), ["not_allowed"]);
            assert_eq!(shard.floor.state.nearby.circles(), 0);
        },
    );
}

#[test]
fn who_moves_his_circle_or_follows_by_name_while_a_position_is_on_its_way_is_told_once() {
    under_faults(|mut shard| {
        let here = (48.2082, 16.3738);
        let mut ann = shard.neighbour("ann", here, 500.0);
        let vendor = shard.vendor("v1");
        let position = Position::new(here.0, here.1).expect("a place");
        for change in [
            watch("48.2082", "16.3738", "5000"),
            r#"{"type":"subscribe_vendor","vendorId":"v1"}"#.into(),
            watch("48.2082", "16.3738", "500"),
            r#"{"type":"unsubscribe_vendor","vendorId":"v1"}"#.into(),
            watch("48.2082", "16.3738", "30000"),
        ] {
            let state = &shard.floor.state;
            assert!(state.nearby.shards(position, state.bus.interest()).contains(SHARD), "{change}");
            let near = Some(Arc::new(Near { position, session: vendor.id }));
            let bytes = encode_text(&told("v1", here));
            let on_its_way = Publication { near, ..shard.publication("vendor:v1", bytes) };
            ann.say(&change);
            shard.settle();
            assert_eq!(ann.texts().len(), 1, "{change}");
            shard.command(Command::Publish(on_its_way));
            shard.settle();
            assert_eq!(ann.texts(), [told("v1", here)], "{change}");
        }
    });
}
