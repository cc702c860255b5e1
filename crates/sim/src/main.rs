//! placeholder
fn main() {
    for (name, _) in sim::scenario::ALL {
        for seed in 0..std::env::args().nth(1).map_or(3, |n| n.parse().unwrap()) {
            if std::env::args().nth(2).is_some_and(|only| only != name) {
                continue;
            }
            let began = std::time::Instant::now();
            let out = sim::World::new(sim::scenario::plan(name, seed).unwrap()).run();
            println!(
                "{name} {seed} {:x} took {:?} events {} {:?} real {:?}",
                out.trace,
                out.took,
                out.events,
                out.violations.first().map(|v| v.to_string()),
                began.elapsed()
            );
        }
    }
}
