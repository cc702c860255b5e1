//! Faults as they begin and end.

use std::time::Duration;

use crate::plan::Fault;
use crate::world::{Event, World};

impl World {
    pub(crate) fn fault(&mut self, number: usize) {
        let plan = self.plan.faults[number].clone();
        self.trace.number(number as u64);
        match plan.fault {
            Fault::Partition(apart) => {
                self.apart = apart;
                self.begins_partition();
            }
            Fault::Reset(node) => {
                for link in self.nodes[node].links.keys().copied().collect::<Vec<_>>() {
                    self.reset(link);
                }
            }
            Fault::Leave(node) if self.nodes[node].brain.is_some() => self.stop(node),
            Fault::Kill(node) if self.nodes[node].running => self.kill(node),
            Fault::PowerLoss(node) if self.nodes[node].running => self.power_loss(node),
            Fault::Leave(_) | Fault::Kill(_) | Fault::PowerLoss(_) => {}
            Fault::DiskFull(node) => self.nodes[node].disk.trouble.full = true,
            Fault::WriteErrors(node) => self.nodes[node].disk.trouble.write_errors = true,
            Fault::ReadErrors(node) => self.nodes[node].disk.trouble.read_errors = true,
            Fault::SlowDisk(node, delay) => self.nodes[node].disk.trouble.delay = delay,
            Fault::FileVanishes(node, file) => self.nodes[node].disk.vanish(file),
            Fault::TrackerDown => self.tracker_down = true,
        }
        self.queue.push(self.now + plan.lasts, Event::FaultEnds(number));
    }

    pub(crate) fn fault_ends(&mut self, number: usize) {
        match self.plan.faults[number].fault.clone() {
            Fault::Partition(_) => {
                self.apart.clear();
                self.ends_partition();
            }
            Fault::Leave(node) | Fault::Kill(node) | Fault::PowerLoss(node)
                if !self.nodes[node].left && !self.nodes[node].running =>
            {
                self.start(node);
            }
            Fault::DiskFull(node) => self.nodes[node].disk.trouble.full = false,
            Fault::WriteErrors(node) => self.nodes[node].disk.trouble.write_errors = false,
            Fault::ReadErrors(node) => self.nodes[node].disk.trouble.read_errors = false,
            Fault::SlowDisk(node, _) => {
                self.nodes[node].disk.trouble.delay = Duration::ZERO;
            }
            Fault::TrackerDown => self.tracker_down = false,
            _ => {}
        }
    }
}
