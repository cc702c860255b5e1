//! Streams arrive whole through every kind of network, and their ends after all of them.

use std::time::Duration;

use crate::link::Shape;
use crate::with_seeds;
use crate::world::World;

const MINUTE: Duration = Duration::from_mins(1);

/// Both ends send, close, and forget the connection.
fn passes(world: &mut World, bytes: u64, limit: Duration) {
    world.nodes[0].to_write = bytes;
    world.nodes[1].to_write = bytes / 3;
    world.nodes.iter_mut().for_each(|node| node.closes = true);
    world.nodes[0].closes = false; // the second closes when the first has
    world.connect();
    assert!(world.runs(limit, World::is_through), "stuck at {:?}", progress(world));
    world.nodes[0].closes = true;
    let over = |world: &World| world.nodes.iter().all(|node| node.endpoint.connections() == 0);
    assert!(world.runs(world.now + 2 * MINUTE, over), "{:?}", progress(world));
    assert!(world.nodes[1].saw_end, "the end came without an error");
    assert_eq!(world.nodes[1].closed, None);
    assert_eq!((world.nodes[0].connected, world.nodes[1].incoming), (1, 1));
}

fn progress(world: &World) -> [(u64, u64, bool); 2] {
    world.nodes.each_ref().map(|node| (node.written, node.read, node.saw_end))
}

#[test]
fn any_network() {
    with_seeds(0..60, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let chance =
            |rng: &mut fastrand::Rng, most: f64| rng.f64() * most * f64::from(rng.u8(0..2));
        let shape = Shape {
            rate: 10_f64.powf(4.5 + rng.f64() * 2.5),
            delay: Duration::from_millis(rng.u64(0..200)),
            queue: Duration::from_millis(rng.u64(30..400)),
            loss: chance(&mut rng, 0.1),
            duplicate: chance(&mut rng, 0.2),
            jitter: Duration::from_millis(rng.u64(0..100)),
            jitter_share: chance(&mut rng, 0.5),
            mtu: rng.usize(1_280..1_600),
        };
        let mut world = World::new(seed, shape);
        // Clocks that wrap while the stream is on its way.
        let wraps = Duration::from_micros(1 << 32);
        world.nodes[0].clock = wraps.saturating_sub(Duration::from_millis(rng.u64(0..5_000)));
        world.nodes[1].clock = wraps * rng.u32(0..3) + Duration::from_millis(rng.u64(0..9_000_000));
        let bytes = rng.u64(1..600_000);
        passes(&mut world, bytes, 20 * MINUTE);
    });
}

#[test]
fn numbers_wrap() {
    // 70,000 packets, loss among them.
    let shape = Shape { loss: 0.002, ..Shape::new(400.0, 2) };
    let mut world = World::new(3, shape);
    passes(&mut world, 70_000 * 1_472, 5 * MINUTE);
    assert!(world.links[0].carried > 66_000);
}

#[test]
fn a_clock_that_jumps_stops_nothing() {
    with_seeds(0..4, |seed| {
        for node in 0..2 {
            let mut world = World::new(seed, Shape::new(20.0, 20));
            world.nodes[0].to_write = u64::MAX;
            world.connect();
            world.runs(Duration::from_secs(5), |_| false);
            let jump = [3, 90, 1_000, 4_000][seed as usize % 4];
            world.clock_jumps(node, Duration::from_secs(jump));
            world.runs(Duration::from_secs(8), |_| false);
            let before = world.nodes[1].read;
            world.runs(Duration::from_secs(13), |_| false);
            let share = (world.nodes[1].read - before) as f64 / 5.0 / world.links[0].shape.rate;
            assert!(share > 0.8, "{share} of the link after {jump} s on node {node}");
        }
    });
}

#[test]
fn a_reader_that_stops_is_waited_for() {
    let mut world = World::with_config(4, Shape::new(20.0, 20), |config| {
        config.receive_bytes = 100_000;
    });
    world.nodes[0].to_write = 1_000_000;
    world.nodes[1].read_max = 150_000;
    world.connect();
    world.runs(5 * MINUTE, |_| false);
    assert_eq!(world.nodes[0].closed, None, "no room is no reason to give up");
    assert!((150_000..170_000).contains(&world.nodes[1].read));
    let asked = world.sent[0];
    world.runs(10 * MINUTE, |_| false);
    assert!(world.sent[0] - asked < 40_000, "it asks now and then: {}", world.sent[0] - asked);
    world.nodes[1].read_max = u64::MAX;
    let resumed = world.now;
    assert!(world.runs(resumed + MINUTE, World::is_through));
    let took = world.now.saturating_sub(resumed);
    assert!(took < Duration::from_secs(10), "it goes on at once: {took:?}");
}

#[test]
fn who_vanishes_is_given_up() {
    let mut world = World::new(4, Shape::new(20.0, 20));
    world.nodes[0].to_write = u64::MAX;
    world.connect();
    world.runs(Duration::from_secs(3), |_| false);
    world.links.iter_mut().for_each(|link| link.shape.loss = 1.0);
    assert!(world.runs(5 * MINUTE, |world| world.nodes[0].closed.is_some()));
    assert_eq!(world.nodes[0].closed, Some(utp::Closed::TimedOut));
    assert!((10..200).contains(&world.now.as_secs()), "{:?}", world.now);
}

#[test]
fn an_idle_connection_is_kept_alive() {
    let mut world = World::new(4, Shape::new(20.0, 20));
    world.nodes[0].to_write = 1_000;
    world.connect();
    world.runs(MINUTE, |_| false);
    let before = world.links.each_ref().map(|link| link.carried);
    world.runs(11 * MINUTE, |_| false);
    for (link, before) in world.links.iter().zip(before) {
        let kept = link.carried - before;
        assert!((20..40).contains(&kept), "{kept} packets in ten minutes");
    }
    world.nodes[0].to_write = 2_000;
    assert!(world.runs(12 * MINUTE, World::is_through));
}

#[test]
fn a_lost_packet_costs_a_round_trip_and_no_timeout() {
    let mut world = World::new(4, Shape { loss: 0.02, ..Shape::new(50.0, 20) });
    world.nodes[0].to_write = 20_000_000;
    world.connect();
    assert!(world.runs(MINUTE, World::is_through));
    // A timeout is half a second at least. 300 packets were lost, and their retransmissions.
    assert!(world.links[0].lost > 200);
    assert!(world.now < Duration::from_secs(8), "{:?}", world.now);
    let packets = 20_000_000 / 1_452;
    let sent = world.links[0].carried + world.links[0].lost;
    assert!(sent < packets * 106 / 100, "{sent} packets for {packets}");
}
