// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;
use rofs_guest::agent::{Decoder, Frame, Hello, MAX_DATA, Problem, VERSION, WINDOW};

use super::session::Said;
use super::*;

const SOON: Duration = Duration::from_secs(20);

/// A guest's end of the channel, played by a test.
struct Guest {
    stream: UnixStream,
    decoder: Decoder,
}

impl Guest {
    fn new() -> (Agent, Guest) {
        let (host, stream) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        (
            Agent::over(host).unwrap(),
            Guest {
                stream,
                decoder: Decoder::default(),
            },
        )
    }

    fn send(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).unwrap();
        // A host that hung up is what some tests are about.
        let _ = self.stream.write_all(&bytes);
    }

    /// The next frame of the host's; `None` when it hung up.
    fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            let mut buffer = [0; 4096];
            match self
                .stream
                .read(&mut buffer)
                .expect("the host says nothing")
            {
                0 => return None,
                n => self.decoder.push(&buffer[..n]),
            }
        }
    }
}

fn problem(agent: &Agent) -> AgentError {
    loop {
        if let Err(e) = agent.event(SOON) {
            return e;
        }
    }
}

fn exec(argv: &[&str]) -> Exec {
    Exec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        ..Exec::default()
    }
}

#[test]
fn a_guest_says_when_it_is_ready_and_how_its_command_ended() {
    let (agent, mut guest) = Guest::new();
    let main = agent.main().unwrap();
    assert!(agent.main().is_none());
    guest.send(&Frame::Hello(Hello {
        version: VERSION,
        started_us: (5, 7),
    }));
    let Ok(Event::Ready(ready)) = agent.event(SOON) else {
        panic!("it is not ready")
    };
    assert_eq!(
        (ready.kernel, ready.total),
        (Duration::from_micros(5), Duration::from_micros(7))
    );
    assert_eq!(agent.ready(), Some(ready));
    guest.send(&Frame::Stdout(0, b"out".to_vec()));
    guest.send(&Frame::Stderr(0, b"err".to_vec()));
    guest.send(&Frame::Exit(0, ExitStatus::Signal(9)));
    assert_eq!(
        main.next(),
        Ok(Said::Output(Stream::Stdout, b"out".to_vec()))
    );
    assert_eq!(
        main.next(),
        Ok(Said::Output(Stream::Stderr, b"err".to_vec()))
    );
    assert_eq!(main.next(), Ok(Said::Ended(Ok(ExitStatus::Signal(9)))));
    assert_eq!(
        agent.event(SOON),
        Ok(Event::Ended(Ok(ExitStatus::Signal(9))))
    );
    assert_eq!(ExitStatus::Signal(9).code(), 137);
    // The guest waits for this before it powers off.
    assert_eq!(guest.next(), Some(Frame::Shutdown));
}

#[test]
fn what_the_guest_says_is_fit_for_a_terminal() {
    let (agent, mut guest) = Guest::new();
    let text = format!("\x1b]0;evil\x07 {}", "x".repeat(100_000));
    guest.send(&Frame::Problem(Problem { text, fatal: true }));
    match agent.event(SOON) {
        Ok(Event::Problem { text, fatal: true }) => {
            assert!(text.starts_with("\u{fffd}]0;evil\u{fffd} x"), "{text:.20}");
            assert!(text.len() < 5000);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn output_beyond_its_window_ends_the_connection() {
    let (agent, mut guest) = Guest::new();
    let main = agent.main().unwrap();
    let full = usize::try_from(WINDOW).unwrap() / MAX_DATA;
    for _ in 0..full {
        guest.send(&Frame::Stdout(0, vec![0; MAX_DATA]));
    }
    // The other stream has a window of its own.
    guest.send(&Frame::Stderr(0, vec![0; MAX_DATA]));
    guest.send(&Frame::Stdout(0, vec![0; 1]));
    let lost = problem(&agent);
    assert!(
        lost.to_string().contains("more output than its window"),
        "{lost}"
    );
    // Nobody waits for ever.
    let said = (0..).map(|_| main.next()).find(Result::is_err);
    assert_eq!(said, Some(Err(lost)));
    assert_eq!(main.input().room(), None);
}

#[test]
fn a_window_is_given_back_as_it_is_used_up() {
    let (agent, mut guest) = Guest::new();
    let main = agent.main().unwrap();
    let mut sent = 0;
    for _ in 0..100 {
        guest.send(&Frame::Stdout(0, vec![0; MAX_DATA]));
        let Ok(Said::Output(stream, data)) = main.next() else {
            panic!("no output")
        };
        main.consumed(stream, data.len());
        sent += data.len();
    }
    let mut given_back = 0;
    while given_back + usize::try_from(WINDOW).unwrap() / 4 <= sent {
        match guest.next() {
            Some(Frame::Window(0, Stream::Stdout, more)) => {
                given_back += usize::try_from(more).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    drop(agent);
}

#[test]
fn input_waits_for_the_guest() {
    let (agent, mut guest) = Guest::new();
    let session = agent.exec(&exec(&["cat"])).unwrap();
    assert_eq!(guest.next(), Some(Frame::Exec(1, exec(&["cat"]))));
    let input = session.input();
    let mut sent = 0;
    while sent < usize::try_from(WINDOW).unwrap() {
        let room = input.room().unwrap();
        input.send(&vec![1; room]).unwrap();
        sent += room;
    }
    assert!(input.send(&[1]).is_err());
    let waiter = std::thread::spawn(move || input.room());
    guest.send(&Frame::Window(1, Stream::Stdin, 10));
    assert_eq!(waiter.join().unwrap(), Some(10));
    guest.send(&Frame::Window(1, Stream::Stdin, WINDOW));
    assert!(
        problem(&agent)
            .to_string()
            .contains("window wider than it is")
    );
}

#[test]
fn frames_that_make_no_sense_end_the_connection() {
    for frame in [
        Frame::Shutdown,
        Frame::Exec(1, exec(&["x"])),
        Frame::Stdin(0, Vec::new()),
        Frame::Stdout(9, vec![0]),
        Frame::Exit(9, ExitStatus::Code(0)),
        Frame::Window(0, Stream::Stdout, 1),
        Frame::Window(0, Stream::Stdin, 0),
        Frame::Hello(Hello {
            version: VERSION + 1,
            started_us: (0, 0),
        }),
    ] {
        let (agent, mut guest) = Guest::new();
        let _main = agent.main();
        guest.send(&frame);
        assert!(matches!(problem(&agent), AgentError::Lost(_)), "{frame:?}");
        assert_eq!(guest.next(), None, "{frame:?}");
    }
}

#[test]
fn a_guest_that_never_reads_does_not_fill_the_memory() {
    let (agent, guest) = Guest::new();
    let session = agent.exec(&exec(&["cat"])).unwrap();
    for _ in 0..1_000_000 {
        session.input().signal(2);
    }
    let lost = agent.exec(&exec(&["x"])).unwrap_err();
    assert!(lost.to_string().contains("does not read"), "{lost}");
    drop(guest);
}

#[test]
fn a_relay_is_like_the_guest_itself() {
    let (agent, mut guest) = Guest::new();
    let other = agent.exec(&exec(&["other"])).unwrap();
    let (server, client) = UnixStream::pair().unwrap();
    let relay = std::thread::spawn({
        let agent = agent.clone();
        move || agent.relay(server)
    });
    let client = Agent::over(client).unwrap();
    assert!(matches!(client.event(SOON), Ok(Event::Ready(_))));
    let session = client.exec(&exec(&["mine"])).unwrap();
    assert_eq!(guest.next(), Some(Frame::Exec(1, exec(&["other"]))));
    assert_eq!(guest.next(), Some(Frame::Exec(2, exec(&["mine"]))));
    session.input().send(b"in").unwrap();
    assert_eq!(guest.next(), Some(Frame::Stdin(2, b"in".to_vec())));
    guest.send(&Frame::Stdout(2, b"out".to_vec()));
    assert_eq!(
        session.next(),
        Ok(Said::Output(Stream::Stdout, b"out".to_vec()))
    );
    guest.send(&Frame::Exit(2, ExitStatus::Code(3)));
    assert_eq!(session.next(), Ok(Said::Ended(Ok(ExitStatus::Code(3)))));
    // A client that goes takes its commands with it, and no others.
    let _running = client.exec(&exec(&["more"])).unwrap();
    assert_eq!(guest.next(), Some(Frame::Exec(3, exec(&["more"]))));
    client.close();
    assert_eq!(guest.next(), Some(Frame::Signal(3, libc::SIGKILL)));
    let _ = relay.join().unwrap();
    guest.send(&Frame::Exit(3, ExitStatus::Signal(9)));
    guest.send(&Frame::Exit(1, ExitStatus::Code(0)));
    assert_eq!(other.next(), Ok(Said::Ended(Ok(ExitStatus::Code(0)))));
}

#[test]
fn a_guest_that_is_gone_is_an_error() {
    let (agent, guest) = Guest::new();
    let main = agent.main().unwrap();
    guest.stream.shutdown(Shutdown::Both).unwrap();
    assert!(matches!(main.next(), Err(AgentError::Lost(_))));
    assert!(matches!(problem(&agent), AgentError::Lost(_)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever a guest sends, everybody who waits learns of an end.
    #[test]
    fn whatever_a_guest_sends(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..14_u8) {
        let (agent, mut guest) = Guest::new();
        let main = agent.main().unwrap();
        // Half of them at least begin like a frame.
        if kind > 0 {
            let length = u32::try_from(bytes.len() + 5).unwrap();
            let _ = guest.stream.write_all(&length.to_le_bytes());
            let _ = guest.stream.write_all(&[kind, 0, 0, 0, 0]);
        }
        let _ = guest.stream.write_all(&bytes);
        let _ = guest.stream.shutdown(Shutdown::Write);
        let ended = (0..2000).map(|_| main.next()).any(|said| matches!(said, Err(_) | Ok(Said::Ended(_))));
        prop_assert!(ended);
        prop_assert!(matches!(problem(&agent), AgentError::Lost(_)));
    }
}
