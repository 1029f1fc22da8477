//! Which addresses a request may reach. Where a caller chooses the URL, it could otherwise make this process send requests into the
//! network around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use backroom_core::{Invalid, http_url::Host};

/// Why an address is none of the public internet; none if it is.
pub(crate) fn why_not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_not_public_v4(address),
        IpAddr::V6(address) => why_not_public_v6(address),
    }
}

/// By the registry of special-purpose addresses of IANA.
fn why_not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("this network"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared by customers of a carrier"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] | [192, 88, 99, _] => Some("of a protocol"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("for documentation"),
        [198, 18..=19, ..] => Some("for benchmarks"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn why_not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        why_not_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // Addresses that stand for an IPv4 address: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("for documentation"),
        // Teredo and others, each a way into another network.
        [0x2001, 0..=0x1ff, ..] => Some("of a protocol"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("reserved"),
    }
}

/// A host or a network that requests may reach although it is not public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// This host, whatever it resolves to.
    Host(Host),
    /// Every address with this beginning of so many bits.
    Network { address: IpAddr, bits: u8 },
}

impl Allowed {
    /// `10.1.0.0/16`, `fd00::/8`, `127.0.0.1`, `::1` or `hooks.internal`.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = |why: &str| Err(Invalid::new("allowed address", format!("{text:?} {why}")));
        if let Some((address, bits)) = text.split_once('/') {
            let Ok(address) = address.parse::<IpAddr>() else {
                return invalid("begins with no address; write 10.0.0.0/8 or fd00::/8");
            };
            let most = if address.is_ipv4() { 32 } else { 128 };
            return match bits.parse::<u8>() {
                Ok(bits) if bits <= most => Ok(Self::Network { address, bits }),
                Ok(_) | Err(_) => {
                    invalid(&format!("has no number of bits from 0 to {most} behind the slash"))
                }
            };
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Host(Host::Ip(address.into())));
        }
        Host::parse(text).map(Self::Host)
    }

    fn has(&self, host: &Host, address: IpAddr) -> bool {
        match self {
            Self::Host(Host::Ip(allowed)) => *allowed == address,
            Self::Host(allowed) => allowed == host,
            Self::Network { address: network, bits } => shares_bits(*network, address, *bits),
        }
    }
}

fn shares_bits(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let rest = width - u32::from(bits);
    (network ^ address).checked_shr(rest).unwrap_or(0) == 0
}

/// Refuses an address of a host that is neither public nor allowed.
pub(crate) fn check(host: &Host, address: IpAddr, allowed: &[Allowed]) -> Result<(), String> {
    match why_not_public(address) {
        Some(why) if !allowed.iter().any(|allowed| allowed.has(host, address)) => {
            let of = match host {
                Host::Name(name) => format!("{address} of {name}"),
                Host::Ip(_) => address.to_string(),
            };
            Err(format!("the address {of} is {why}, and requests to it are not allowed"))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_of_networks_are_not_public_in_any_form() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001::1",
            "2001:0:53aa:64c::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "5f00::1",
            "4000::1",
            "8000::1",
            "::ffff:0:127.0.0.1",
        ] {
            assert!(why_not_public(text.parse().unwrap()).is_some(), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "3ffe::1",
        ] {
            assert_eq!(why_not_public(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn hosts_and_networks_are_allowed_by_name_or_by_their_first_bits() {
        let allowed: Vec<Allowed> =
            ["10.1.0.0/16", "::1", "hooks.internal", "127.0.0.1", "fd00::/8", "0.0.0.0/0"]
                .iter()
                .map(|text| Allowed::parse(text).unwrap())
                .collect();
        let name = |text: &str| Host::Name(text.into());
        let other = name("other.example");
        let ok = |host: &Host, address: &str, some: &[Allowed]| {
            check(host, address.parse().unwrap(), some).is_ok()
        };
        assert!(ok(&other, "10.1.255.255", &allowed[..5]));
        assert!(!ok(&other, "10.2.0.0", &allowed[..5]));
        assert!(
            ok(&other, "::1", &allowed)
                && ok(&other, "127.0.0.1", &allowed)
                && ok(&other, "fdff::1", &allowed)
        );
        assert!(!ok(&other, "127.0.0.2", &allowed[..5]) && !ok(&other, "fe80::1", &allowed));
        assert!(ok(&name("hooks.internal"), "192.168.0.1", &allowed[..5]));
        assert!(!ok(&name("hooks.internal"), "192.168.0.1", &[]));
        assert!(ok(&other, "192.168.0.1", &allowed) && !ok(&other, "::ffff:10.0.0.1", &allowed));
        for wrong in [
            "",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0/8",
            "a b",
            "*.example",
            "x/8",
        ] {
            assert!(Allowed::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
