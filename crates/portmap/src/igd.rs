//! UPnP's Internet Gateway Device, versions 1 and 2: which services its description has, and the SOAP
//! calls that map a port.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::Protocol;
use crate::ssdp::Location;
use crate::xml::{self, Part};

/// Bytes of a description, or of an answer: those of gateways are below 32 KiB.
pub const BODY_MAX: usize = 256 * 1024;
/// Services tried: gateways have one for each way to the internet.
const SERVICES_MAX: usize = 4;

/// A part of a gateway that maps ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    kind: String,
    /// Where its calls go.
    pub control: Location,
}

/// The services of a description, found at `base`, that map ports. What they say of another host is
/// left out.
pub fn services(description: &[u8], base: &Location) -> Vec<Service> {
    let parts = xml::parts(description);
    let given = xml::text(&parts, "URLBase").filter(|url| !url.is_empty());
    let Ok(base) = given.map_or_else(|| Ok(base.clone()), |url| base.join(url)) else {
        return Vec::new();
    };
    let (mut found, mut kind, mut control) = (Vec::new(), None, None);
    for part in parts {
        match part {
            Part::Text(name, text) if name == "serviceType" => kind = Some(text),
            Part::Text(name, text) if name == "controlURL" => control = Some(text),
            Part::End(name) if name == "service" => {
                if let (Some(kind), Some(control)) = (kind.take(), control.take())
                    && maps_ports(&kind)
                    && let Ok(control) = base.join(&control)
                {
                    found.push(Service { kind, control });
                }
            }
            _ => {}
        }
    }
    found.truncate(SERVICES_MAX);
    found
}

fn maps_ports(kind: &str) -> bool {
    let service = kind.strip_prefix("urn:schemas-upnp-org:service:");
    matches!(service, Some("WANIPConnection:1" | "WANIPConnection:2" | "WANPPPConnection:1"))
}

/// A mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The gateway's.
    pub external_port: u16,
    /// Ours.
    pub internal_port: u16,
    /// Our address in the gateway's network.
    pub client: Ipv4Addr,
    /// For so long; 0 is until it is taken away.
    pub seconds: u32,
}

/// What a service is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Tell its address towards the internet.
    ExternalAddress,
    /// Map a port.
    Add(Mapping),
    /// Map it no more.
    Delete {
        /// Of which protocol.
        protocol: Protocol,
        /// The gateway's.
        external_port: u16,
    },
}

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The port belongs to somebody else.
    #[error("the gateway has given the port to somebody else")]
    Conflict,
    /// It only maps for good.
    #[error("the gateway only maps ports for good")]
    PermanentOnly,
    /// Its port has to be ours.
    #[error("the gateway only maps equal ports")]
    SamePorts,
    /// It has been told not to.
    #[error("the gateway does not allow it: switch UPnP on in its settings")]
    NotAuthorized,
    /// It says something else.
    #[error("the gateway says error {code} ({text})")]
    Other {
        /// UPnP's number.
        code: u32,
        /// What it says, cut and without control characters.
        text: String,
    },
    /// Not SOAP, or nothing in it.
    #[error("the gateway's answer can't be understood")]
    Nonsense,
}

impl Service {
    /// The value of the `SOAPAction` header of a call.
    pub fn action(&self, call: Call) -> String {
        format!("\"{}#{}\"", self.kind, call.name())
    }

    /// The body of a call.
    pub fn body(&self, call: Call) -> String {
        let (name, mut arguments) = (call.name(), String::new());
        for (key, value) in call.arguments() {
            // Nothing in it is from outside but numbers and addresses.
            let _ = write!(arguments, "<{key}>{value}</{key}>"); // to memory: never fails
        }
        format!(
            "<?xml version=\"1.0\"?>\r\n<s:Envelope \
             xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{name} xmlns:u=\"{kind}\">{arguments}</u:{name}></s:Body></s:Envelope>\r\n",
            kind = self.kind,
        )
    }
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::ExternalAddress => "GetExternalIPAddress",
            Self::Add(_) => "AddPortMapping",
            Self::Delete { .. } => "DeletePortMapping",
        }
    }

    fn arguments(self) -> Vec<(&'static str, String)> {
        match self {
            Self::ExternalAddress => Vec::new(),
            Self::Add(mapping) => vec![
                ("NewRemoteHost", String::new()),
                ("NewExternalPort", mapping.external_port.to_string()),
                ("NewProtocol", mapping.protocol.to_string()),
                ("NewInternalPort", mapping.internal_port.to_string()),
                ("NewInternalClient", mapping.client.to_string()),
                ("NewEnabled", "1".into()),
                ("NewPortMappingDescription", "peerless".into()),
                ("NewLeaseDuration", mapping.seconds.to_string()),
            ],
            Self::Delete { protocol, external_port } => vec![
                ("NewRemoteHost", String::new()),
                ("NewExternalPort", external_port.to_string()),
                ("NewProtocol", protocol.to_string()),
            ],
        }
    }

    /// Whether an answer of this status says that it was done.
    ///
    /// # Errors
    /// [`Error`], if it does not.
    pub fn done(self, status: u16, body: &[u8]) -> Result<(), Error> {
        let parts = xml::parts(body);
        if let Some(code) = xml::text(&parts, "errorCode") {
            let said = xml::text(&parts, "errorDescription").unwrap_or_default();
            let text = said.chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(match code.parse().map_err(|_| Error::Nonsense)? {
                606 => Error::NotAuthorized,
                // Nothing to delete is as good as deleted.
                714 if matches!(self, Self::Delete { .. }) => return Ok(()),
                718 => Error::Conflict,
                724 => Error::SamePorts,
                725 => Error::PermanentOnly,
                code => Error::Other { code, text },
            });
        }
        let reply = format!("{}Response", self.name());
        let answered = parts.iter().any(|part| match part {
            Part::End(name) | Part::Text(name, _) => *name == reply,
        });
        // Without arguments it may be an empty element, which is no part.
        let answered = answered || contains(body, reply.as_bytes());
        if status == 200 && answered { Ok(()) } else { Err(Error::Nonsense) }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// The address in an answer to [`Call::ExternalAddress`]; `None` when the gateway has none.
///
/// # Errors
/// [`Error`], if the answer is none.
pub fn external_address(status: u16, body: &[u8]) -> Result<Option<IpAddr>, Error> {
    Call::ExternalAddress.done(status, body)?;
    let parts = xml::parts(body);
    let text = xml::text(&parts, "NewExternalIPAddress").ok_or(Error::Nonsense)?;
    if text.is_empty() {
        return Ok(None);
    }
    let ip: IpAddr = text.parse().map_err(|_| Error::Nonsense)?;
    Ok(Some(ip).filter(|ip| !ip.is_unspecified()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Location {
        Location { addr: "192.168.1.1:5000".parse().unwrap(), path: "/root.xml".into() }
    }

    fn service(kind: &str, control: &str) -> String {
        format!(
            "<service><serviceType>urn:schemas-upnp-org:service:{kind}</serviceType>\
             <controlURL>{control}</controlURL></service>"
        )
    }

    fn description(services: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device>\
             <serviceList>{}</serviceList><deviceList><device><serviceList>{services}\
             </serviceList></device></deviceList></device></root>",
            service("Layer3Forwarding:1", "/l3f")
        )
        .into_bytes()
    }

    #[test]
    fn services_are_found_wherever_they_are() {
        let both = service("WANIPConnection:2", "/ctl/IP?a=1&amp;b=2")
            + &service("WANPPPConnection:1", "ppp");
        let found = services(&description(&both), &base());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].control.path, "/ctl/IP?a=1&b=2");
        assert_eq!(found[1].control.path, "/ppp");
    }

    #[test]
    fn a_description_can_not_send_us_elsewhere() {
        let odd = service("WANIPConnection:1", "http://192.0.2.7/ctl")
            + &service("WANIPConnection:1\"#x", "/ctl")
            + &service("WANIPConnection:1", "/a b");
        assert_eq!(services(&description(&odd), &base()), []);
        let based = b"<root><URLBase>http://192.0.2.7/</URLBase></root>";
        assert_eq!(services(based, &base()), []);
        let many = service("WANIPConnection:1", "/ctl").repeat(500);
        assert_eq!(services(&description(&many), &base()).len(), SERVICES_MAX);
    }

    #[test]
    fn a_call_says_what_upnp_wants_in_its_order() {
        let found = services(&description(&service("WANIPConnection:1", "/ctl")), &base());
        let mapping = Mapping {
            protocol: Protocol::Tcp,
            external_port: 7000,
            internal_port: 6881,
            client: Ipv4Addr::new(192, 168, 1, 7),
            seconds: 3600,
        };
        let call = Call::Add(mapping);
        let action = "\"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping\"";
        assert_eq!(found[0].action(call), action);
        let body = found[0].body(call);
        let expected = "<NewRemoteHost></NewRemoteHost><NewExternalPort>7000</NewExternalPort>\
            <NewProtocol>TCP</NewProtocol><NewInternalPort>6881</NewInternalPort>\
            <NewInternalClient>192.168.1.7</NewInternalClient><NewEnabled>1</NewEnabled>\
            <NewPortMappingDescription>peerless</NewPortMappingDescription>\
            <NewLeaseDuration>3600</NewLeaseDuration></u:AddPortMapping>";
        assert!(body.contains(expected), "{body}");
    }

    #[test]
    fn answers_are_told_apart() {
        let call = Call::Delete { protocol: Protocol::Udp, external_port: 1 };
        let fault = |code| {
            format!(
                "<s:Envelope><s:Body><s:Fault><detail><UPnPError><errorCode>{code}</errorCode>\
                 <errorDescription>no\x07 way</errorDescription></UPnPError></detail></s:Fault>\
                 </s:Body></s:Envelope>"
            )
        };
        assert_eq!(call.done(500, fault(718).as_bytes()), Err(Error::Conflict));
        assert_eq!(call.done(500, fault(725).as_bytes()), Err(Error::PermanentOnly));
        assert_eq!(call.done(500, fault(714).as_bytes()), Ok(()));
        let other = Error::Other { code: 501, text: "no way".into() };
        assert_eq!(call.done(500, fault(501).as_bytes()), Err(other));
        assert_eq!(call.done(200, b"<html>hello</html>"), Err(Error::Nonsense));
        let yes =
            b"<s:Envelope><s:Body><u:DeletePortMappingResponse xmlns:u='x'/></s:Body></s:Envelope>";
        assert_eq!(call.done(200, yes), Ok(()));
        assert_eq!(call.done(500, yes), Err(Error::Nonsense));
    }

    #[test]
    fn the_external_address() {
        let says = |text: &str| {
            let body = format!(
                "<Envelope><Body><GetExternalIPAddressResponse><NewExternalIPAddress>{text}\
                 </NewExternalIPAddress></GetExternalIPAddressResponse></Body></Envelope>"
            );
            external_address(200, body.as_bytes())
        };
        assert_eq!(says("198.51.100.7"), Ok("198.51.100.7".parse().ok()));
        assert_eq!(says(""), Ok(None));
        assert_eq!(says("0.0.0.0"), Ok(None));
        assert_eq!(says("http://x"), Err(Error::Nonsense));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), status: u16) {
            prop_assert_eq!(services(&bytes, &base()), []);
            let _ = external_address(status, &bytes);
        }
    }
}
