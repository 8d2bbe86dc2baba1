//! `allowed_outbound_hosts`: which hosts a component may call.
//!
//! The syntax and its meaning are Spin's (crate `spin-outbound-networking-config`, `allowed_hosts.rs`):
//! `scheme://host[:port]`, where the scheme is `http`, `https` or `*`; the host a name, an IP address, a CIDR block, `*`
//! or `*.suffix`; the port a number, a range `from..to` without its end, or `*`, and without one the scheme's own.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

/// The hosts that one component may call.
#[derive(Debug, Default)]
pub(crate) struct AllowedHosts(Vec<AllowedHost>);

impl AllowedHosts {
    /// Adds one entry.
    ///
    /// # Errors
    ///
    /// The reason why the entry means nothing here.
    pub(crate) fn add(&mut self, entry: &str) -> Result<(), String> {
        self.0.push(AllowedHost::parse(entry)?);
        Ok(())
    }

    /// Whether a request to this scheme, host (an IPv6 address in brackets) and port may be sent.
    pub(crate) fn allow(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        self.0.iter().any(|allowed| allowed.allows(scheme, &host, port))
    }
}

#[derive(Debug)]
struct AllowedHost {
    /// `None` is any scheme.
    scheme: Option<Scheme>,
    host: Host,
    port: Port,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Debug)]
enum Host {
    Any,
    /// `*.suffix`, kept with its leading dot.
    Subdomain(String),
    Exact(String),
    Block(IpNet),
}

#[derive(Debug)]
enum Port {
    Any,
    One(u16),
    Range(Range<u16>),
}

impl AllowedHost {
    fn parse(entry: &str) -> Result<Self, String> {
        let entry = entry.trim();
        let (scheme, rest) = entry
            .split_once("://")
            .ok_or("not of the form scheme://host[:port], for example \"https://example.com\"")?;
        let scheme = match scheme {
            "*" => None,
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            other => {
                return Err(format!("the scheme `{other}` is not served by edge-host, only `http`, `https` and `*`"));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A colon inside the brackets of an IPv6 address starts no port.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        Ok(Self { scheme, host: Host::parse(host)?, port: Port::parse(port, scheme)? })
    }

    fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let scheme_allowed = match self.scheme {
            None => true,
            Some(Scheme::Http) => scheme == "http",
            Some(Scheme::Https) => scheme == "https",
        };
        scheme_allowed && self.host.allows(host) && self.port.allows(port)
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self, String> {
        if let Ok(block) = host.parse::<IpNet>() {
            return Ok(Self::Block(block));
        }
        let host = host.to_ascii_lowercase();
        match host.strip_prefix("*.") {
            _ if host.is_empty() => Err("the host is empty".to_owned()),
            _ if host == "*" => Ok(Self::Any),
            _ if host == "self" || host == "self.alt" || host.ends_with(".spin.internal") => {
                Err("calls to the application itself (service chaining) are not implemented by edge-host".to_owned())
            }
            _ if host.starts_with('{') => Err("Spin has no lists of hosts".to_owned()),
            _ if host.contains('/') => Err("an entry takes no path".to_owned()),
            _ if host.contains('@') => Err("an entry takes no user".to_owned()),
            Some(domain) if !domain.contains('*') => Ok(Self::Subdomain(format!(".{domain}"))),
            _ if host.contains('*') => Err("`*` stands for a whole host or before `.suffix`".to_owned()),
            _ => Ok(Self::Exact(host)),
        }
    }

    fn allows(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Subdomain(suffix) => host.ends_with(suffix.as_str()),
            Self::Exact(exact) => host == exact,
            Self::Block(block) => {
                let address = host.trim_start_matches('[').trim_end_matches(']');
                address.parse::<IpAddr>().is_ok_and(|address| block.contains(&address))
            }
        }
    }
}

impl Port {
    fn parse(port: Option<&str>, scheme: Option<Scheme>) -> Result<Self, String> {
        let number =
            |text: &str| text.parse::<u16>().map_err(|_| format!("the port `{text}` is not a number up to 65535"));
        match port {
            None => match scheme {
                Some(Scheme::Http) => Ok(Self::One(80)),
                Some(Scheme::Https) => Ok(Self::One(443)),
                None => Err("the scheme `*` has no default port; write one, or `:*` for any".to_owned()),
            },
            Some("*") => Ok(Self::Any),
            Some(port) => match port.split_once("..") {
                Some((from, to)) => Ok(Self::Range(number(from)?..number(to)?)),
                None => number(port).map(Self::One),
            },
        }
    }

    fn allows(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == port,
            Self::Range(range) => range.contains(&port),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn entries_allow_what_spin_lets_them_allow() {
        for (entry, url, expected) in [
            ("https://example.com", ("https", "example.com", 443), true),
            ("https://example.com", ("https", "EXAMPLE.com", 443), true),
            ("https://example.com/", ("https", "example.com", 443), true),
            ("https://example.com", ("http", "example.com", 443), false),
            ("https://example.com", ("https", "example.com", 8443), false),
            ("https://example.com", ("https", "example.com.evil.org", 443), false),
            ("http://127.0.0.1:4566", ("http", "127.0.0.1", 4566), true),
            ("http://127.0.0.1:4566", ("http", "127.0.0.1", 4567), false),
            ("*://example.com:80", ("https", "example.com", 80), true),
            ("*://example.com:80", ("https", "example.com", 443), false),
            ("https://*", ("https", "anything.org", 443), true),
            ("*://*:*", ("http", "anything.org", 1), true),
            ("https://*.example.com", ("https", "a.b.example.com", 443), true),
            ("https://*.example.com", ("https", "example.com", 443), false),
            ("http://localhost:8000..8002", ("http", "localhost", 8001), true),
            ("http://localhost:8000..8002", ("http", "localhost", 8002), false),
            ("http://10.0.0.0/8:80", ("http", "10.1.2.3", 80), true),
            ("http://10.0.0.0/8:80", ("http", "11.1.2.3", 80), false),
            ("http://[::1]:8080", ("http", "[::1]", 8080), true),
            ("http://[::1]", ("http", "[::1]", 80), true),
        ] {
            let mut hosts = AllowedHosts::default();
            hosts.add(entry).unwrap();
            let (scheme, host, port) = url;
            assert_eq!(hosts.allow(scheme, host, port), expected, "{entry} {url:?}");
        }
        assert!(!AllowedHosts::default().allow("http", "localhost", 80), "an empty list allows nothing");
    }

    #[test]
    fn an_entry_that_means_nothing_is_refused_with_its_reason() {
        for (entry, reason) in [
            ("", "scheme://host"),
            ("example.com", "scheme://host"),
            ("http://", "empty"),
            ("*://example.com", "default port"),
            ("redis://localhost", "`redis`"),
            ("http://localhost:none", "`none`"),
            ("http://localhost:99999", "`99999`"),
            ("http://example.com/path", "path"),
            ("http://user@example.com", "user"),
            ("http://a.*.com", "`*`"),
            ("http://*.*.com", "`*`"),
            ("http://self", "service chaining"),
            ("http://intake.spin.internal", "service chaining"),
        ] {
            let refused = AllowedHosts::default().add(entry).unwrap_err();
            assert!(refused.contains(reason), "{entry}: {refused}");
        }
    }
}
