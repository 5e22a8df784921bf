// SPDX-License-Identifier: Apache-2.0 OR MIT
//! As much HTTP/1.1 as a hypervisor's API on a unix socket needs: one request, one answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Most bytes of an answer that are read.
const LONGEST: usize = 4 << 20;

/// Most header fields of an answer.
const MOST_FIELDS: usize = 32;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Sends a request, and reads the answer to it, until `deadline` at most.
pub(super) fn request(
    stream: &mut UnixStream,
    method: &str,
    path: &str,
    body: Option<&str>,
    deadline: Instant,
) -> io::Result<Answer> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n");
    if let Some(body) = body {
        text.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = parse(&bytes)? {
            return Ok(answer);
        }
        if bytes.len() > LONGEST {
            return Err(io::Error::other("the answer has no end"));
        }
        stream.set_read_timeout(Some(left(deadline)?))?;
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

/// The answer, if it is all there.
fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(begin) = head.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let status = head.code.unwrap_or(0);
    let length = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        // Without one there is no body: the server keeps the connection open.
        None => 0,
        Some(field) => std::str::from_utf8(field.value)
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok())
            .filter(|length| *length <= LONGEST)
            .ok_or_else(|| io::Error::other("the answer has no proper length"))?,
    };
    Ok(bytes
        .get(begin..)
        .and_then(|rest| rest.get(..length))
        .map(|body| Answer {
            status,
            body: body.to_vec(),
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(parse(b"HTTP/1.1 200 \r\nContent-Le").unwrap(), None);
        let whole = b"HTTP/1.1 200 \r\nServer: x\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(&whole[..whole.len() - 1]).unwrap(), None);
        assert_eq!(
            parse(whole).unwrap(),
            Some(Answer {
                status: 200,
                body: b"{}".to_vec()
            })
        );
        let empty = b"HTTP/1.1 204 \r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(
            parse(empty).unwrap(),
            Some(Answer {
                status: 204,
                body: Vec::new()
            })
        );
        assert!(parse(b"QMP hello\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 \r\nContent-Length: 99999999999\r\n\r\n").is_err());
    }
}
