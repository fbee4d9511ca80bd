//! Nets: which are not public, and which were allowed by name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A net such as `127.0.0.0/8` or `fd00::/8`; an address alone is a net of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    ip: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no net: write 10.0.0.0/8, fd00::/8, or one address")]
pub struct NotANet;

impl Net {
    const fn v4(ip: [u8; 4], prefix_bits: u8) -> Self {
        Self { ip: IpAddr::V4(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])), prefix_bits }
    }

    const fn v6(head: [u16; 2], prefix_bits: u8) -> Self {
        Self { ip: IpAddr::V6(Ipv6Addr::new(head[0], head[1], 0, 0, 0, 0, 0, 0)), prefix_bits }
    }

    /// Whether an address lies in the net. An IPv4 address that is written as an IPv6 one counts as itself.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let differing = net.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let differing = net.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = NotANet;

    fn from_str(text: &str) -> Result<Self, NotANet> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip.trim().parse().map_err(|_| NotANet)?;
        let prefix_bits_max = if ip.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(prefix_bits_max), |prefix| prefix.trim().parse().map_err(|_| NotANet))?;
        if prefix_bits > prefix_bits_max { Err(NotANet) } else { Ok(Self { ip, prefix_bits }) }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_bits)
    }
}

/// What IANA keeps for special purposes; whatever is not here is public.
const SPECIAL_V4: [(Net, &str); 16] = [
    (Net::v4([0, 0, 0, 0], 8), "unspecified"),
    (Net::v4([10, 0, 0, 0], 8), "private"),
    (Net::v4([100, 64, 0, 0], 10), "shared by a carrier"),
    (Net::v4([127, 0, 0, 0], 8), "loopback"),
    (Net::v4([169, 254, 0, 0], 16), "link-local"),
    (Net::v4([172, 16, 0, 0], 12), "private"),
    (Net::v4([192, 0, 0, 0], 24), "for protocols"),
    (Net::v4([192, 0, 2, 0], 24), "for documentation"),
    (Net::v4([192, 31, 196, 0], 24), "for protocols"),
    (Net::v4([192, 88, 99, 0], 24), "for 6to4"),
    (Net::v4([192, 168, 0, 0], 16), "private"),
    (Net::v4([198, 18, 0, 0], 15), "for benchmarks"),
    (Net::v4([198, 51, 100, 0], 24), "for documentation"),
    (Net::v4([203, 0, 113, 0], 24), "for documentation"),
    (Net::v4([224, 0, 0, 0], 4), "multicast"),
    (Net::v4([240, 0, 0, 0], 4), "reserved"),
];

/// Names for what lies outside of global unicast, and the special parts of what lies within.
const SPECIAL_V6: [(Net, &str); 8] = [
    (Net::v6([0xfc00, 0], 7), "private"),
    (Net::v6([0xfe80, 0], 10), "link-local"),
    (Net::v6([0xfec0, 0], 10), "site-local"),
    (Net::v6([0xff00, 0], 8), "multicast"),
    (Net::v6([0x2001, 0], 23), "for protocols"),
    (Net::v6([0x2001, 0x0db8], 32), "for documentation"),
    (Net::v6([0x2002, 0], 16), "for 6to4"),
    (Net::v6([0x3fff, 0], 20), "for documentation"),
];

const GLOBAL_V6: Net = Net::v6([0x2000, 0], 3);
/// A translator's prefix, with an IPv4 address in the last four bytes.
const NAT64: Net = Net::v6([0x0064, 0xff9b], 96);

/// What an address is if it is not public. What embeds an IPv4 address is what that address is.
pub(super) fn why_not_public(ip: IpAddr) -> Option<&'static str> {
    let find = |nets: &[(Net, &'static str)], ip| nets.iter().find(|(net, _)| net.contains(ip)).map(|(_, why)| *why);
    match ip.to_canonical() {
        IpAddr::V4(_) => find(&SPECIAL_V4, ip),
        IpAddr::V6(v6) if NAT64.contains(ip) => {
            let [.., a, b, c, d] = v6.octets();
            why_not_public(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some("loopback"),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("unspecified"),
        IpAddr::V6(_) => find(&SPECIAL_V6, ip).or((!GLOBAL_V6.contains(ip)).then_some("reserved")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for (ip, why) in [
            ("0.0.0.0", "unspecified"),
            ("10.255.255.255", "private"),
            ("100.64.0.1", "shared by a carrier"),
            ("100.127.255.255", "shared by a carrier"),
            ("127.0.0.1", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "for protocols"),
            ("192.0.2.1", "for documentation"),
            ("192.168.1.1", "private"),
            ("198.19.255.255", "for benchmarks"),
            ("198.51.100.7", "for documentation"),
            ("203.0.113.7", "for documentation"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "reserved"),
            ("::8.8.8.8", "reserved"),
            ("::ffff:10.0.0.1", "private"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::8.8.8.8", "reserved"),
            ("100::1", "reserved"),
            ("2001::1", "for protocols"),
            ("2001:db8::1", "for documentation"),
            ("2002:7f00:1::", "for 6to4"),
            ("2002:808:808::", "for 6to4"),
            ("3fff::1", "for documentation"),
            ("5f00::1", "reserved"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            assert_eq!(why_not_public(ip.parse().expect("an address")), Some(why), "{ip}");
        }
    }

    #[test]
    fn public_addresses_are() {
        for ip in [
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2606:4700::1",
        ] {
            assert_eq!(why_not_public(ip.parse().expect("an address")), None, "{ip}");
        }
    }

    #[test]
    fn a_net_is_read_and_written() {
        for (text, written) in [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128"), ("0.0.0.0/0", "0.0.0.0/0")] {
            assert_eq!(text.parse::<Net>().expect("a net").to_string(), written);
        }
        for text in ["", "10.0.0.0/33", "::/129", "example.org", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Net>(), Err(NotANet), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Net>().expect("a net").contains([8, 8, 8, 8].into()));
    }
}
