//! Items (BEP 44) and samples (BEP 51) across a network.

use dht::{Id, Item, ItemError, Outcome, SecretKey, code};

use crate::world::World;

const VALUE: &[u8] = b"12:Hello World!";

fn found(world: &mut World, node: usize, operation: dht::OperationId) -> Option<Item> {
    let Outcome::Item { item, .. } = world.outcome(node, operation) else { panic!() };
    item
}

#[test]
fn an_immutable_item_is_put_and_got() {
    let mut world = World::of(20);
    let now = world.now;
    let operation = world.nodes[1].dht.put_item(now, VALUE).unwrap();
    let Outcome::Stored { target, count, refused, .. } = world.outcome(1, operation) else {
        panic!()
    };
    assert_eq!(target.to_string(), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    assert_eq!((count, refused), (8, vec![]));
    let now = world.now;
    let operation = world.nodes[9].dht.get_item(now, target);
    let item = found(&mut world, 9, operation).expect("it is there");
    assert_eq!((item.value.as_slice(), item.signed), (VALUE, None));
    let now = world.now;
    let operation = world.nodes[9].dht.get_item(now, Id([1; 20]));
    assert_eq!(found(&mut world, 9, operation), None);
}

#[test]
fn the_newest_version_of_a_mutable_item_is_found_and_cas_guards_it() {
    let mut world = World::of(20);
    let key = SecretKey::from_seed(&[5; 32]);
    let put = |world: &mut World, value: &[u8], seq, cas| {
        let now = world.now;
        let dht = &mut world.nodes[2].dht;
        let operation = dht.put_mutable_item(now, &key, b"salt", value, seq, cas).unwrap();
        match world.outcome(2, operation) {
            Outcome::Stored { count, refused, .. } => (count, refused),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(put(&mut world, b"1:a", None, None).0, 8);
    assert_eq!(put(&mut world, b"1:b", None, None).0, 8, "one more than the newest");
    let (count, refused) = put(&mut world, b"1:c", Some(3), Some(1));
    assert_eq!(count, 0);
    assert!(refused.iter().all(|(why, _)| *why == code::CAS_MISMATCH), "{refused:?}");
    assert_eq!(refused.len(), 8);
    let (_, refused) = put(&mut world, b"1:c", Some(1), None);
    assert!(refused.iter().all(|(why, _)| *why == code::SEQ_TOO_LOW) && refused.len() == 8);
    let now = world.now;
    let operation = world.nodes[15].dht.get_mutable_item(now, &key.public(), b"salt");
    let item = found(&mut world, 15, operation).expect("it is there");
    assert_eq!(item.value, b"1:b");
    assert_eq!(item.signed.map(|signed| signed.seq), Some(2));
    let now = world.now;
    let operation = world.nodes[15].dht.get_mutable_item(now, &key.public(), b"other");
    assert_eq!(found(&mut world, 15, operation), None, "another salt is another item");
}

#[test]
fn what_nobody_would_take_is_not_sent() {
    let mut world = World::of(1);
    let dht = &mut world.nodes[0].dht;
    let key = SecretKey::from_seed(&[5; 32]);
    let now = std::time::Duration::ZERO;
    let long = [b"1000:".to_vec(), vec![0; 1000]].concat();
    assert_eq!(dht.put_item(now, &long), Err(ItemError::TooLong { bytes: 1005 }));
    let salt = dht.put_mutable_item(now, &key, &[0; 65], VALUE, None, None);
    assert_eq!(salt, Err(ItemError::SaltTooLong { bytes: 65 }));
    let seq = dht.put_mutable_item(now, &key, b"", VALUE, Some(-1), None);
    assert_eq!(seq, Err(ItemError::NegativeSeq));
}

#[test]
fn samples_tell_which_torrents_are_kept() {
    let mut world = World::of(12);
    for n in 0..5 {
        let now = world.now;
        let announce =
            dht::Announce { port: 7000, port_v6: None, is_port_implied: false, is_seed: false };
        let query = dht::PeersQuery { announce: Some(announce), ..Default::default() };
        let operation = world.nodes[1].dht.get_peers(now, Id([n; 20]), query);
        world.outcome(1, operation);
    }
    let now = world.now;
    let operation = world.nodes[2].dht.sample(now, Id([0; 20]));
    let Outcome::Samples { torrents, kept, answers } = world.outcome(2, operation) else {
        panic!()
    };
    assert_eq!(torrents, (0..5).map(|n| Id([n; 20])).collect::<Vec<_>>());
    assert!(kept >= 5 && answers >= 8, "{kept} of {answers}");
}
