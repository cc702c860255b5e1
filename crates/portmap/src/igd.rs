//! UPnP's Internet Gateway Device, versions 1 and 2: which services its description has, and the SOAP
//! calls that map a port, or open a pinhole in its firewall for IPv6 (`WANIPv6FirewallControl:1`).

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Protocol;
use crate::ssdp::Location;
use crate::xml::{self, Part};

/// Bytes of a description, or of an answer: those of gateways are below 32 KiB.
pub const BODY_MAX: usize = 256 * 1024;
/// Services tried: gateways have one for each way to the internet.
const SERVICES_MAX: usize = 4;

/// A part of a gateway that maps ports, or opens pinholes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    kind: String,
    /// Where its calls go.
    pub control: Location,
}

/// The services of a description, found at `base`, that map ports. What they say of another host is
/// left out.
pub fn services(description: &[u8], base: &Location) -> Vec<Service> {
    find(description, base, |kind| {
        matches!(kind, "WANIPConnection:1" | "WANIPConnection:2" | "WANPPPConnection:1")
    })
}

/// The same for those that open pinholes.
pub fn firewalls(description: &[u8], base: &Location) -> Vec<Service> {
    find(description, base, |kind| kind == "WANIPv6FirewallControl:1")
}

fn find(description: &[u8], base: &Location, is_wanted: fn(&str) -> bool) -> Vec<Service> {
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
                    && kind.strip_prefix(SCHEMA).is_some_and(is_wanted)
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

/// What the names of all standard services begin with.
const SCHEMA: &str = "urn:schemas-upnp-org:service:";

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

/// A hole in a firewall, through which anybody may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinhole {
    /// For which protocol.
    pub protocol: Protocol,
    /// Our address.
    pub client: Ipv6Addr,
    /// Our port.
    pub port: u16,
    /// For so long; firewalls want 1 to 86,400.
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
    /// Tell whether it is a firewall that lets holes be opened.
    FirewallStatus,
    /// Open a pinhole.
    Open(Pinhole),
    /// Keep it for so many seconds more.
    Keep {
        /// The number that it got.
        id: u16,
        /// From now on.
        seconds: u32,
    },
    /// Close it.
    Close {
        /// The number that it got.
        id: u16,
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
    /// It lets everything through.
    #[error("the gateway's firewall for IPv6 is off")]
    FirewallOff,
    /// It has been told not to open pinholes.
    #[error("the gateway's firewall for IPv6 has no holes opened: allow it in its settings")]
    NoPinholes,
    /// There is no such pinhole, or not any more.
    #[error("the gateway has forgotten the pinhole")]
    Forgotten,
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
            Self::FirewallStatus => "GetFirewallStatus",
            Self::Open(_) => "AddPinhole",
            Self::Keep { .. } => "UpdatePinhole",
            Self::Close { .. } => "DeletePinhole",
        }
    }

    fn arguments(self) -> Vec<(&'static str, String)> {
        match self {
            Self::ExternalAddress | Self::FirewallStatus => Vec::new(),
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
            Self::Open(hole) => vec![
                ("RemoteHost", String::new()), // anybody
                ("RemotePort", "0".into()),    // from any port
                ("InternalClient", hole.client.to_string()),
                ("InternalPort", hole.port.to_string()),
                ("Protocol", hole.protocol.number().to_string()),
                ("LeaseTime", hole.seconds.to_string()),
            ],
            Self::Keep { id, seconds } => {
                vec![("UniqueID", id.to_string()), ("NewLeaseTime", seconds.to_string())]
            }
            Self::Close { id } => vec![("UniqueID", id.to_string())],
        }
    }

    fn is_of_firewall(self) -> bool {
        matches!(
            self,
            Self::FirewallStatus | Self::Open(_) | Self::Keep { .. } | Self::Close { .. }
        )
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
                702 if self.is_of_firewall() => Error::FirewallOff,
                703 if self.is_of_firewall() => Error::NoPinholes,
                // What is to be closed may be gone.
                704 if matches!(self, Self::Close { .. }) => return Ok(()),
                704 if self.is_of_firewall() => Error::Forgotten,
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

/// The answer to [`Call::FirewallStatus`]: whether pinholes can be opened, and have to be.
///
/// # Errors
/// [`Error::FirewallOff`] and [`Error::NoPinholes`]; others, if the answer is none.
pub fn firewall_status(status: u16, body: &[u8]) -> Result<(), Error> {
    Call::FirewallStatus.done(status, body)?;
    let parts = xml::parts(body);
    let is = |name| match xml::text(&parts, name).ok_or(Error::Nonsense)? {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(Error::Nonsense),
    };
    if !is("FirewallEnabled")? {
        return Err(Error::FirewallOff);
    }
    if is("InboundPinholeAllowed")? { Ok(()) } else { Err(Error::NoPinholes) }
}

/// The number in an answer to [`Call::Open`].
///
/// # Errors
/// [`Error`], if it was not opened.
pub fn opened(hole: Pinhole, status: u16, body: &[u8]) -> Result<u16, Error> {
    Call::Open(hole).done(status, body)?;
    let parts = xml::parts(body);
    let id = xml::text(&parts, "UniqueID").ok_or(Error::Nonsense)?;
    id.parse().map_err(|_| Error::Nonsense)
}

#[cfg(test)]
mod tests;
