//! Descriptions and answers of gateways, good and bad.

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
    let both =
        service("WANIPConnection:2", "/ctl/IP?a=1&amp;b=2") + &service("WANPPPConnection:1", "ppp");
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

const HOLE: Pinhole = Pinhole {
    protocol: Protocol::Udp,
    client: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7),
    port: 6881,
    seconds: 3600,
};

/// An answer with these within.
fn says(call: Call, inner: &str) -> Vec<u8> {
    let name = call.name();
    format!("<Envelope><Body><u:{name}Response>{inner}</u:{name}Response></Body></Envelope>")
        .into_bytes()
}

fn fault(code: u32) -> Vec<u8> {
    format!("<Fault><UPnPError><errorCode>{code}</errorCode></UPnPError></Fault>").into_bytes()
}

#[test]
fn a_pinhole_is_opened_kept_and_closed() {
    let both = service("WANIPConnection:1", "/ctl") + &service("WANIPv6FirewallControl:1", "/6fc");
    let found = firewalls(&description(&both), &base());
    assert_eq!((found.len(), found[0].control.path.as_str()), (1, "/6fc"));
    assert_eq!(services(&description(&both), &base()).len(), 1);
    let action = "\"urn:schemas-upnp-org:service:WANIPv6FirewallControl:1#AddPinhole\"";
    assert_eq!(found[0].action(Call::Open(HOLE)), action);
    let body = found[0].body(Call::Open(HOLE));
    let expected = "<RemoteHost></RemoteHost><RemotePort>0</RemotePort>\
        <InternalClient>2001:db8::7</InternalClient><InternalPort>6881</InternalPort>\
        <Protocol>17</Protocol><LeaseTime>3600</LeaseTime></u:AddPinhole>";
    assert!(body.contains(expected), "{body}");
    let kept = found[0].body(Call::Keep { id: 9, seconds: 60 });
    assert!(kept.contains("<UniqueID>9</UniqueID><NewLeaseTime>60</NewLeaseTime>"), "{kept}");
    let closed = found[0].body(Call::Close { id: 9 });
    assert!(closed.contains("<UniqueID>9</UniqueID></u:DeletePinhole>"), "{closed}");
    let opened = |body: &[u8]| opened(HOLE, 200, body);
    assert_eq!(opened(&says(Call::Open(HOLE), "<UniqueID>65535</UniqueID>")), Ok(u16::MAX));
    for bad in ["", "<UniqueID></UniqueID>", "<UniqueID>65536</UniqueID>"] {
        assert_eq!(opened(&says(Call::Open(HOLE), bad)), Err(Error::Nonsense), "{bad}");
    }
}

#[test]
fn a_firewall_says_what_it_lets_us_do() {
    let status = |on, allowed| {
        let inner = format!(
            "<FirewallEnabled>{on}</FirewallEnabled>\
             <InboundPinholeAllowed>{allowed}</InboundPinholeAllowed>"
        );
        firewall_status(200, &says(Call::FirewallStatus, &inner))
    };
    assert_eq!(status("1", "1"), Ok(()));
    assert_eq!(status("0", "1"), Err(Error::FirewallOff));
    assert_eq!(status("1", "0"), Err(Error::NoPinholes));
    assert_eq!(status("1", "perhaps"), Err(Error::Nonsense));
    let keep = Call::Keep { id: 9, seconds: 60 };
    assert_eq!(keep.done(500, &fault(704)), Err(Error::Forgotten));
    assert_eq!(Call::Close { id: 9 }.done(500, &fault(704)), Ok(()));
    assert_eq!(Call::Open(HOLE).done(500, &fault(702)), Err(Error::FirewallOff));
    assert_eq!(Call::Open(HOLE).done(500, &fault(703)), Err(Error::NoPinholes));
    let other = Error::Other { code: 703, text: String::new() };
    assert_eq!(Call::ExternalAddress.done(500, &fault(703)), Err(other), "another service's");
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), status: u16) {
        prop_assert_eq!(services(&bytes, &base()), []);
        prop_assert_eq!(firewalls(&bytes, &base()), []);
        let _ = external_address(status, &bytes);
        prop_assert!(opened(HOLE, status, &bytes).is_err());
        prop_assert!(firewall_status(status, &bytes).is_err());
    }

    #[test]
    fn any_answer(inner in "(<(UniqueID|FirewallEnabled|a)>[0-9a-z<&;]{0,8}(</UniqueID>)?){0,4}", status: u16) {
        if opened(HOLE, status, &says(Call::Open(HOLE), &inner)).is_ok() {
            prop_assert_eq!(status, 200);
            prop_assert!(inner.contains("UniqueID"));
        }
        let _ = firewall_status(status, &says(Call::FirewallStatus, &inner));
    }
}
