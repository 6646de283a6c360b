//! Syslog messages (RFC 5424) over UDP (RFC 5426), TCP (RFC 6587 3.4.1, counted octets) or a Unix socket.

use anyhow::bail;
use proto::v1::Record;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket, UnixDatagram},
};

use super::deliver::{Accepted, Failure};

/// Facility "log audit".
const FACILITY: u8 = 13;
/// Longest message over UDP: what every receiver has to take is 480 bytes, what fits one datagram is this.
const MAX_DATAGRAM: usize = 65_000;

/// A receiver.
pub(super) struct Syslog {
    to: To,
    tcp: Option<TcpStream>,
}

enum To {
    Udp(String),
    Tcp(String),
    Unix(String),
}

impl Syslog {
    /// `udp://host:514`, `tcp://host:601` or `unix:///dev/log`.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let to = match url.split_once("://") {
            Some(("udp", address)) if address.contains(':') => To::Udp(address.to_owned()),
            Some(("tcp", address)) if address.contains(':') => To::Tcp(address.to_owned()),
            Some(("unix", path)) if path.starts_with('/') => To::Unix(path.to_owned()),
            _ => bail!("{url} is none of udp://HOST:PORT, tcp://HOST:PORT and unix:///PATH"),
        };
        Ok(Self { to, tcp: None })
    }

    pub(super) async fn deliver(&mut self, records: &[Record]) -> Result<Accepted, Failure> {
        let messages = records.iter().filter_map(message);
        let result = match &self.to {
            To::Udp(address) => async { Datagrams::udp(address).await?.send(messages).await }.await,
            To::Unix(path) => async { Datagrams::unix(path)?.send(messages).await }.await,
            To::Tcp(address) => {
                let stream = match &mut self.tcp {
                    Some(stream) => Ok(stream),
                    None => TcpStream::connect(address).await.map(|stream| self.tcp.insert(stream)),
                };
                match stream {
                    Ok(stream) => {
                        let framed = messages.flat_map(|text| format!("{} {text}", text.len()).into_bytes());
                        stream.write_all(&framed.collect::<Vec<u8>>()).await.map(|()| 0)
                    }
                    Err(error) => Err(error),
                }
            }
        };
        result.map(|refused| Accepted { refused }).map_err(|error| {
            // A broken connection is made anew.
            self.tcp = None;
            Failure::again(error.to_string())
        })
    }
}

/// A connected socket that takes whole messages.
enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    async fn udp(address: &str) -> std::io::Result<Self> {
        let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(Self::Udp(socket))
    }

    fn unix(path: &str) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self::Unix(socket))
    }

    /// Sends every message; how many were too long.
    async fn send(&self, messages: impl Iterator<Item = String>) -> std::io::Result<u64> {
        let mut refused = 0;
        for message in messages {
            if message.len() > MAX_DATAGRAM {
                refused += 1;
                continue;
            }
            match self {
                Self::Udp(socket) => socket.send(message.as_bytes()).await?,
                Self::Unix(socket) => socket.send(message.as_bytes()).await?,
            };
        }
        Ok(refused)
    }
}

/// The record's JSON as one message, its kind as the message id.
fn message(record: &Record) -> Option<String> {
    let severity = match record.finding().map(|finding| finding.severity.as_str()) {
        Some("critical") => 2,
        Some("high") => 3,
        Some("medium") => 4,
        Some(_) => 5,
        None => 6,
    };
    let json = serde_json::to_string(record).ok()?;
    let time = jiff::Timestamp::from_nanosecond(record.time.into()).ok()?;
    let host = record.sensor.as_ref().map(|sensor| sensor.host.as_str()).filter(|host| !host.is_empty());
    let plain = |text: &str| text.chars().filter(char::is_ascii_graphic).take(255).collect::<String>();
    Some(format!(
        "<{}>1 {time:.6} {} keywitness - {} - {json}",
        FACILITY * 8 + severity,
        plain(host.unwrap_or("-")),
        plain(&record.kind),
    ))
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn a_message_has_the_header_of_rfc_5424() {
        let messages: Vec<String> = samples::all().iter().filter_map(message).collect();
        assert!(
            messages[0].starts_with(
                "<110>1 2023-11-14T22:13:20.123456Z node-1 keywitness - model_call - {\"time\":"
            ),
            "{}",
            messages[0]
        );
        assert!(messages[2].starts_with("<107>1 "), "{}", messages[2]);
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["udp://127.0.0.1:514", "tcp://[::1]:601", "unix:///dev/log"] {
            assert!(Syslog::new(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:514", "udp://host", "unix://dev/log", "http://x"] {
            assert!(Syslog::new(bad).is_err(), "{bad}");
        }
    }
}
