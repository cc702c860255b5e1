//! `--ip-filter`: lists of addresses that no connection is made to or taken from.

use std::path::PathBuf;

use engine::{IpFilter, read_ip_filter};
use serde_json::json;

use crate::exit::Failure;
use crate::output::Output;

/// The lists.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Lists {
    /// Have nothing to do with the addresses that this list names (CIDR, .p2p or .dat;
    /// plain or gzip), neither as peers nor as DHT nodes; again for more lists.
    #[arg(long, value_name = "FILE", global = true)]
    ip_filter: Vec<PathBuf>,
}

impl Lists {
    /// Whether none was named.
    pub(crate) fn is_empty(&self) -> bool {
        self.ip_filter.is_empty()
    }

    /// Reads them, and says what can't be used of them.
    pub(crate) fn read(&self, output: Output) -> Result<IpFilter, Failure> {
        if self.ip_filter.is_empty() {
            return Ok(IpFilter::default());
        }
        let (filter, reports) = read_ip_filter(&self.ip_filter).map_err(|error| {
            Failure::usage(error.to_string())
                .advise("give a list of networks or ranges, one a line; gzip is fine")
        })?;
        for (path, report) in self.ip_filter.iter().zip(&reports) {
            let path = path.display();
            let bad: Vec<_> = report
                .first_bad
                .iter()
                .map(|(line, reason)| json!({"line": line, "reason": reason.to_string()}))
                .collect();
            output.value(&json!({
                "event": "ip_filter", "file": path.to_string(), "ranges": report.ranges,
                "allowed": report.allowed, "bad": report.bad, "first_bad": bad,
            }));
            if report.bad > 0 {
                output.note(format_args!("warning: {path}: {} lines are left out", report.bad));
            }
            for (line, reason) in &report.first_bad {
                output.note(format_args!("  line {line}: {reason}"));
            }
            if report.ranges == 0 {
                output.note(format_args!("warning: {path} names no address"));
            }
        }
        Ok(filter)
    }
}
