// SPDX-License-Identifier: Apache-2.0 OR MIT
//! cloud-hypervisor's REST API.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Connection, ControlError, Status, http, reach};

/// A connection to cloud-hypervisor.
#[derive(Debug)]
pub struct ChApi {
    stream: UnixStream,
    timeout: Duration,
}

impl ChApi {
    /// Connects, and asks whether somebody is there.
    ///
    /// # Errors
    /// If nobody answers within `timeout`, which is also the limit of each request.
    pub fn connect(socket: &Path, timeout: Duration) -> Result<ChApi, ControlError> {
        let stream = reach(socket, Instant::now() + timeout)?;
        let mut api = ChApi { stream, timeout };
        api.ask("GET", "vmm.ping", None)?;
        Ok(api)
    }

    /// Adds a share to the running guest, whose server already listens.
    ///
    /// # Errors
    /// If the guest's memory is not shared, or the tag is taken.
    pub fn add_fs(
        &mut self,
        tag: &str,
        socket: PathBuf,
        request_queues: u16,
    ) -> Result<(), ControlError> {
        let share = json!({
            "tag": tag,
            "socket": socket,
            "num_queues": request_queues,
            "queue_size": 1024,
        });
        self.ask("PUT", "vm.add-fs", Some(share)).map(drop)
    }

    fn ask(
        &mut self,
        method: &str,
        command: &str,
        body: Option<Value>,
    ) -> Result<Value, ControlError> {
        let path = format!("/api/v1/{command}");
        let body = body.map(|body| body.to_string());
        let deadline = Instant::now() + self.timeout;
        let answer = http::request(&mut self.stream, method, &path, body.as_deref(), deadline)?;
        if !(200..300).contains(&answer.status) {
            let why = String::from_utf8_lossy(&answer.body).trim().to_owned();
            let why = if why.is_empty() {
                format!("HTTP status {}", answer.status)
            } else {
                why
            };
            return Err(ControlError::Refused {
                command: command.to_owned(),
                why,
            });
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|e| ControlError::Protocol(e.to_string()))
    }
}

impl Connection for ChApi {
    fn status(&mut self) -> Result<Status, ControlError> {
        let info = self.ask("GET", "vm.info", None)?;
        let word = info
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or("Unknown")
            .to_owned();
        Ok(Status {
            running: word == "Running",
            word,
        })
    }

    fn power_button(&mut self) -> Result<(), ControlError> {
        self.ask("PUT", "vm.power-button", None).map(drop)
    }

    fn quit(&mut self) -> Result<(), ControlError> {
        self.ask("PUT", "vmm.shutdown", None).map(drop)
    }

    /// The API names the balloon's own size, so the guest's memory is asked for first.
    fn leave_memory(&mut self, mib: u64) -> Result<(), ControlError> {
        let info = self.ask("GET", "vm.info", None)?;
        let memory = info.pointer("/config/memory/size").and_then(Value::as_u64);
        let memory = memory
            .ok_or_else(|| ControlError::Protocol("vm.info tells no size of memory".to_owned()))?;
        let balloon = memory.saturating_sub(mib.saturating_mul(1 << 20));
        self.ask(
            "PUT",
            "vm.resize",
            Some(json!({ "desired_balloon": balloon })),
        )
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A cloud-hypervisor with these answers.
    fn api(
        answers: &'static [&'static str],
    ) -> (tempfile::TempDir, PathBuf, thread::JoinHandle<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            for answer in answers {
                let mut chunk = [0; 4096];
                let n = stream.read(&mut chunk).unwrap();
                asked.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (dir, path, thread)
    }

    const PONG: &str = "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}";
    const SECOND: Duration = Duration::from_secs(5);

    #[test]
    fn status_power_button_share() {
        let (_dir, path, thread) = api(&[
            PONG,
            "HTTP/1.1 200 \r\nContent-Length: 19\r\n\r\n{\"state\":\"Running\"}",
            "HTTP/1.1 204 \r\n\r\n",
            "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}",
        ]);
        let mut api = ChApi::connect(&path, SECOND).unwrap();
        assert!(api.status().unwrap().running);
        api.power_button().unwrap();
        api.add_fs("home", "/run/home.sock".into(), 1).unwrap();
        let asked = thread.join().unwrap();
        assert!(
            asked.contains("PUT /api/v1/vm.power-button HTTP/1.1\r\n"),
            "{asked}"
        );
        let body = r#"{"num_queues":1,"queue_size":1024,"socket":"/run/home.sock","tag":"home"}"#;
        assert!(asked.ends_with(body), "{asked}");
    }

    #[test]
    fn a_refusal_says_why() {
        let (_dir, path, _thread) = api(&[
            PONG,
            "HTTP/1.1 500 \r\nContent-Length: 17\r\n\r\n[\"VM not booted\"]",
        ]);
        let mut api = ChApi::connect(&path, SECOND).unwrap();
        let error = api.power_button().unwrap_err().to_string();
        assert_eq!(
            error,
            "the hypervisor refused `vm.power-button`: [\"VM not booted\"]"
        );
    }
}
