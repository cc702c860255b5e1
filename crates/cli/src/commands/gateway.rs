//! What a gateway gives, for programs and for people: its ports, and pinholes for IPv6.

use engine::{OwnPorts, Pinholes, PortMapping};
use serde_json::{Value, json};

use crate::format::untrusted;

/// Whether peers are let in over IPv6.
pub(super) fn pinholes(status: &Pinholes) -> Value {
    let (state, more) = match status {
        Pinholes::Open(open) => (
            "open",
            json!({
                "method": open.method.to_string(), "gateway": open.gateway,
                "addresses": open.addresses, "port": open.port,
                "external_port": open.external_port,
            }),
        ),
        Pinholes::Failed { reason } => ("failed", json!({ "reason": reason })),
        Pinholes::Needless { reason } => ("needless", json!({ "reason": reason })),
        Pinholes::Off => ("off", json!({})),
        _ => ("asking", json!({})),
    };
    joined(json!({ "event": "pinholes", "state": state }), more)
}

/// Whether the gateway leads its port to ours.
pub(super) fn port_mapping(status: &PortMapping) -> Value {
    let (state, more) = match status {
        PortMapping::Mapped(ports) => (
            "mapped",
            json!({
                "method": ports.method.to_string(), "gateway": ports.gateway,
                "external_ip": ports.external_ip, "tcp": ports.tcp, "udp": ports.udp,
            }),
        ),
        PortMapping::Failed { reason } => ("failed", json!({ "reason": reason })),
        PortMapping::Needless => ("needless", json!({})),
        PortMapping::Off => ("off", json!({})),
        _ => ("asking", json!({})),
    };
    joined(json!({ "event": "port_mapping", "state": state }), more)
}

fn joined(mut value: Value, more: Value) -> Value {
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

/// The same in a line for people.
pub(super) fn mapped(mapping: &PortMapping) -> String {
    match mapping {
        PortMapping::Mapped(ports) => {
            let outside = ports.external_ip.map_or(String::new(), |ip| format!(" of {ip}"));
            format!("TCP {} and UDP {}{outside}, by {}", ports.tcp, ports.udp, ports.method)
        }
        PortMapping::Failed { reason } => untrusted(reason),
        PortMapping::Needless => {
            "not needed: our own address is one that the internet knows".into()
        }
        PortMapping::Asking => "the gateway has not answered yet".into(),
        _ => "nothing to map".into(),
    }
}

/// The same for pinholes.
pub(super) fn let_in(holes: &Pinholes) -> String {
    match holes {
        Pinholes::Open(open) => {
            let all: Vec<_> = open.addresses.iter().map(ToString::to_string).collect();
            let port = match (open.external_port, open.port) {
                (outside, own) if outside == own => own.to_string(),
                (outside, own) => format!("{outside}, which lead to {own},"),
            };
            format!("TCP and UDP {port} to {}, by {}", all.join(", "), open.method)
        }
        Pinholes::Failed { reason } => untrusted(reason),
        Pinholes::Needless { reason } => format!("not needed: {}", untrusted(reason)),
        Pinholes::Asking => "the gateway has not answered yet".into(),
        _ => "nothing to open".into(),
    }
}

/// Which port peers are told.
pub(super) fn told(ports: OwnPorts) -> String {
    match ports {
        OwnPorts { v4: 0, v6: 0 } => "no port: nobody can come in".into(),
        OwnPorts { v4, v6 } if v4 == v6 => format!("port {v4}"),
        OwnPorts { v4, v6 } => format!("port {v4} over IPv4, {v6} over IPv6"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ports_are_named_where_they_differ() {
        assert_eq!(told(7000.into()), "port 7000");
        assert_eq!(told(OwnPorts { v4: 7000, v6: 6881 }), "port 7000 over IPv4, 6881 over IPv6");
        assert!(told(OwnPorts::default()).contains("nobody"));
    }

    #[test]
    fn who_asks_nobody_is_not_said_to_ask() {
        for (mapping, state) in [(PortMapping::Off, "off"), (PortMapping::Asking, "asking")] {
            assert_eq!(port_mapping(&mapping)["state"], state);
        }
        for (holes, state) in [(Pinholes::Off, "off"), (Pinholes::Asking, "asking")] {
            assert_eq!(pinholes(&holes)["state"], state);
        }
    }
}
