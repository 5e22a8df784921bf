// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU's machine protocol: one JSON object a line, both ways.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ControlError, Status, reach};

/// The longest line that is read. Answers to our questions are a few hundred bytes.
const LONGEST_LINE: usize = 1 << 20;

/// Most events kept for later; older ones are dropped.
const MOST_EVENTS: usize = 256;

/// Something that happened, such as `SHUTDOWN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// What belongs to it.
    pub data: Value,
}

/// A connection on which commands can be given.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    buffer: Vec<u8>,
    events: VecDeque<Event>,
    timeout: Duration,
}

impl Qmp {
    /// Connects, waits for the greeting, and ends the negotiation.
    ///
    /// # Errors
    /// If nobody listens or greets within `timeout`, which is also the limit of each command.
    pub fn connect(socket: &Path, timeout: Duration) -> Result<Qmp, ControlError> {
        let deadline = Instant::now() + timeout;
        let stream = reach(socket, deadline)?;
        let mut qmp = Qmp {
            stream,
            buffer: Vec::new(),
            events: VecDeque::new(),
            timeout,
        };
        let greeting = qmp.line(deadline)?;
        if greeting.get("QMP").is_none() {
            return Err(ControlError::Protocol(format!(
                "this is no greeting of QEMU: {greeting}"
            )));
        }
        qmp.execute("qmp_capabilities", None)?;
        Ok(qmp)
    }

    /// Gives a command and returns what QEMU answered.
    ///
    /// # Errors
    /// If QEMU refuses, or goes away. (After `quit` it may go without an answer; that is none.)
    pub fn execute(
        &mut self,
        command: &str,
        arguments: Option<Value>,
    ) -> Result<Value, ControlError> {
        let mut request = json!({ "execute": command });
        if let Some(arguments) = arguments {
            request["arguments"] = arguments;
        }
        let mut line = request.to_string();
        line.push('\n');
        self.stream.set_write_timeout(Some(self.timeout))?;
        self.stream.write_all(line.as_bytes())?;
        let deadline = Instant::now() + self.timeout;
        loop {
            let mut answer = match self.line(deadline) {
                Err(ControlError::Io(e))
                    if command == "quit" && e.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    return Ok(Value::Null);
                }
                answer => answer?,
            };
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                let why = error
                    .get("desc")
                    .and_then(Value::as_str)
                    .unwrap_or("no reason given");
                return Err(ControlError::Refused {
                    command: command.to_owned(),
                    why: why.to_owned(),
                });
            }
            self.keep(answer);
        }
    }

    /// The next event; `None` when none came in time.
    ///
    /// # Errors
    /// If QEMU went away.
    pub fn event(&mut self, timeout: Duration) -> Result<Option<Event>, ControlError> {
        let deadline = Instant::now() + timeout;
        while self.events.is_empty() {
            match self.line(deadline) {
                Ok(line) => self.keep(line),
                Err(ControlError::Io(e)) if is_timeout(&e) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        Ok(self.events.pop_front())
    }

    /// Asks how the guest is.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn status(&mut self) -> Result<Status, ControlError> {
        let answer = self.execute("query-status", None)?;
        let word = answer
            .get("status")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned();
        let running = answer
            .get("running")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        Ok(Status { running, word })
    }

    /// Presses and releases Ctrl-Alt-Delete.
    ///
    /// # Errors
    /// If the machine has no keyboard.
    pub fn ctrl_alt_delete(&mut self) -> Result<(), ControlError> {
        for down in [true, false] {
            let key = |name: &str| json!({ "type": "key", "data": { "down": down, "key": { "type": "qcode", "data": name } } });
            let events = json!({ "events": [key("ctrl"), key("alt"), key("delete")] });
            self.execute("input-send-event", Some(events))?;
        }
        Ok(())
    }

    fn keep(&mut self, mut line: Value) {
        let Some(name) = line.get("event").and_then(Value::as_str).map(str::to_owned) else {
            return;
        };
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        let data = line.get_mut("data").map(Value::take).unwrap_or_default();
        self.events.push_back(Event { name, data });
    }

    /// Reads a line. What came of a line that is not whole yet is kept.
    fn line(&mut self, deadline: Instant) -> Result<Value, ControlError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|e| ControlError::Protocol(e.to_string()));
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(ControlError::Protocol("a line without an end".to_owned()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ControlError::Io(io::ErrorKind::TimedOut.into()));
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ControlError::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;
    const SECOND: Duration = Duration::from_secs(5);

    /// A QEMU that says its lines, each after the next command (the first at once).
    fn qemu(
        lines: &'static [&'static str],
    ) -> (
        tempfile::TempDir,
        std::path::PathBuf,
        thread::JoinHandle<Vec<String>>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut said = Vec::new();
            for (i, line) in lines.iter().enumerate() {
                if i > 0 {
                    let mut command = String::new();
                    reader.read_line(&mut command).unwrap();
                    said.push(command);
                }
                (&stream).write_all(line.as_bytes()).unwrap();
                (&stream).write_all(b"\r\n").unwrap();
            }
            said
        });
        (dir, path, thread)
    }

    #[test]
    fn events_between_answers_are_kept() {
        let (_dir, path, thread) = qemu(&[
            GREETING,
            r#"{"return": {}}"#,
            "{\"event\": \"RESUME\", \"timestamp\": {}}\r\n{\"return\": {\"status\": \"running\", \"running\": true}}",
        ]);
        let mut qmp = Qmp::connect(&path, SECOND).unwrap();
        assert_eq!(
            qmp.status().unwrap(),
            Status {
                running: true,
                word: "running".to_owned()
            }
        );
        assert_eq!(qmp.event(SECOND).unwrap().unwrap().name, "RESUME");
        let said = thread.join().unwrap();
        assert_eq!(said[1], "{\"execute\":\"query-status\"}\n");
        // It went away.
        assert!(qmp.event(SECOND).is_err());
    }

    #[test]
    fn a_refusal_says_why() {
        let (_dir, path, _thread) = qemu(&[
            GREETING,
            r#"{"return": {}}"#,
            r#"{"error": {"class": "GenericError", "desc": "No balloon device has been activated"}}"#,
        ]);
        let mut qmp = Qmp::connect(&path, SECOND).unwrap();
        let error = qmp
            .execute("balloon", Some(json!({ "value": 1 })))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the hypervisor refused `balloon`: No balloon device has been activated"
        );
    }

    #[test]
    fn nobody_and_somebody_else() {
        let dir = tempfile::tempdir().unwrap();
        let error = Qmp::connect(&dir.path().join("none"), Duration::from_millis(30)).unwrap_err();
        assert!(matches!(error, ControlError::Connect { .. }), "{error}");
        let (_dir, path, _thread) = qemu(&["{\"hello\": 1}"]);
        let error = Qmp::connect(&path, SECOND).unwrap_err();
        assert!(matches!(error, ControlError::Protocol(_)), "{error}");
    }

    #[test]
    fn silence_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let _listener = UnixListener::bind(&path).unwrap();
        let begin = Instant::now();
        let error = Qmp::connect(&path, Duration::from_millis(50)).unwrap_err();
        assert!(
            matches!(&error, ControlError::Io(e) if is_timeout(e)),
            "{error}"
        );
        assert!(begin.elapsed() < SECOND);
    }
}
