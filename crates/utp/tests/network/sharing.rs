//! What uTP makes of a link: alone, when packets are lost, and beside TCP.

use std::time::Duration;

use crate::link::Shape;
use crate::with_seeds;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// 100 Mbit/s, 100 ms there and back.
fn long() -> Shape {
    Shape::new(100.0, 50)
}

/// Bytes a second over the link that the receiving end read between two times.
fn rate(world: &mut World, from: u32, to: u32) -> f64 {
    world.runs(SECOND * from, |_| false);
    let before = world.nodes[1].read;
    world.runs(SECOND * to, |_| false);
    (world.nodes[1].read - before) as f64 / f64::from(to - from)
}

#[test]
fn a_long_link_that_loses_packets_is_filled() {
    with_seeds(0..2, |seed| {
        let mut world = World::new(seed, Shape { loss: 0.01, ..long() });
        world.nodes[0].to_write = u64::MAX;
        world.connect();
        let share = rate(&mut world, 0, 20) / long().rate;
        let queued = world.links[0].queued_max;
        println!("1 % loss: {:.1} % of the link, queue at most {queued:?}", share * 100.0);
        assert!(share >= 0.8, "{share} of the link");
    });
}

#[test]
fn alone_it_fills_the_link_and_keeps_the_queue_short() {
    with_seeds(0..1, |seed| {
        for (megabits, delay_ms) in [(100.0, 50), (20.0, 10), (5.0, 30), (50.0, 5)] {
            let shape = Shape::new(megabits, delay_ms);
            let mut world = World::new(seed, shape);
            world.nodes[0].to_write = u64::MAX;
            world.connect();
            let share = rate(&mut world, 5, 15) / shape.rate;
            let queued = world.links[0].queued_max;
            println!(
                "alone, {megabits} Mbit/s and {delay_ms} ms: {:.1} %, queue at most {queued:?}",
                share * 100.0
            );
            assert!(share >= 0.9, "{share} of the link");
            assert!(queued <= Duration::from_millis(125), "queued for {queued:?}");
        }
    });
}

#[test]
fn it_yields_to_tcp_and_comes_back() {
    with_seeds(0..1, |seed| {
        let mut world = World::new(seed, Shape::new(20.0, 20));
        world.nodes[0].to_write = u64::MAX;
        world.connect();
        let alone = rate(&mut world, 5, 10) / world.links[0].shape.rate;
        world.start_tcp();
        world.runs(SECOND * 15, |_| false);
        let before = world.tcp.as_ref().unwrap().delivered;
        let ours = rate(&mut world, 15, 45);
        let theirs = (world.tcp.as_ref().unwrap().delivered - before) as f64 / 30.0;
        let share = ours / (ours + theirs);
        world.tcp = None;
        let after = rate(&mut world, 50, 60) / world.links[0].shape.rate;
        println!(
            "beside TCP: {:.1} % (before {:.1} %, after {:.1} %)",
            share * 100.0,
            alone * 100.0,
            after * 100.0
        );
        assert!(share < 0.2, "{share} of the link");
        assert!((ours + theirs) / world.links[0].shape.rate > 0.9);
        assert!(alone > 0.85 && after > 0.85);
    });
}

#[test]
fn two_streams_share() {
    // The stream back uses the acks' link: both go at full rate.
    let mut world = World::new(5, Shape::new(20.0, 20));
    world.nodes[0].to_write = u64::MAX;
    world.nodes[1].to_write = u64::MAX;
    world.connect();
    world.runs(SECOND * 5, |_| false);
    let before = [world.nodes[0].read, world.nodes[1].read];
    world.runs(SECOND * 15, |_| false);
    for (node, before) in world.nodes.iter().zip(before) {
        let share = (node.read - before) as f64 / 10.0 / Shape::new(20.0, 20).rate;
        assert!(share > 0.8, "{share}");
    }
}

#[test]
fn paths_that_carry_less_are_found_out() {
    for (mtu, least) in [(1_280, 1_232), (1_400, 1_350), (1_500, 1_472), (9_000, 1_472)] {
        let mut world = World::new(7, Shape { mtu, loss: 0.005, ..Shape::new(20.0, 20) });
        world.nodes[0].to_write = u64::MAX;
        world.connect();
        world.runs(SECOND * 10, |_| false);
        let node = &world.nodes[0];
        let found = node.endpoint.datagram_bytes(node.id.unwrap()).unwrap();
        assert!(found + 28 <= mtu && found >= least, "{found} of {mtu}");
    }
}
