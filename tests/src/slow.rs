// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A disk as slow as one likes: a directory of this host, mounted a second time through
//! `/dev/fuse` by a file system that takes its time to read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtiofs::errno::FsResult;
use virtiofs::fs::{
    Attr, Call, Capabilities, Cookie, DataSink, DirSink, Found, Name, NodeId, Opened, ReadFs,
    StatFs, Validity,
};
use virtiofs::mount::{Mount, MountOptions, StopHandle};
use virtiofs::store::{CachePolicy, PlainOptions, PlainTree, open_root};

use crate::channel::PATIENCE;

/// How many reads may be slow at once; everything else goes on meanwhile.
const THREADS: usize = 16;

/// What reads do.
#[derive(Debug, Default)]
struct State {
    delay: Duration,
    closed: bool,
    waiting: usize,
}

/// What holds the reads up.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    /// From now on each read takes so long.
    pub fn delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// From now on no read comes to an end.
    pub fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }

    /// They do again.
    pub fn open(&self) {
        self.state.lock().unwrap().closed = false;
        self.changed.notify_all();
    }

    /// Waits until so many reads stand before the closed gate.
    pub fn wait_for(&self, reads: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.state.lock().unwrap().waiting < reads {
            assert!(Instant::now() < deadline, "nobody reads from the disk");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        let delay = state.delay;
        state.waiting += 1;
        let mut state = self
            .changed
            .wait_while(state, |state| state.closed)
            .unwrap();
        state.waiting -= 1;
        drop(state);
        std::thread::sleep(delay);
    }
}

/// The slow file system.
struct SlowFs {
    tree: PlainTree,
    gate: Arc<Gate>,
}

impl ReadFs for SlowFs {
    fn capabilities(&self) -> Capabilities {
        self.tree.capabilities()
    }

    fn lookup(&self, call: Call, parent: NodeId, name: Name<'_>) -> FsResult<Found> {
        self.tree.lookup(call, parent, name)
    }

    fn getattr(&self, call: Call, node: NodeId) -> FsResult<(Attr, Validity)> {
        self.tree.getattr(call, node)
    }

    fn readlink(&self, call: Call, node: NodeId, out: &mut dyn DataSink) -> FsResult<()> {
        self.tree.readlink(call, node, out)
    }

    fn open(&self, call: Call, node: NodeId) -> FsResult<Opened> {
        self.tree.open(call, node)
    }

    fn readdir(
        &self,
        call: Call,
        dir: NodeId,
        from: Cookie,
        out: &mut dyn DirSink,
    ) -> FsResult<()> {
        self.tree.readdir(call, dir, from, out)
    }

    fn read(
        &self,
        call: Call,
        node: NodeId,
        at: u64,
        len: u32,
        out: &mut dyn DataSink,
    ) -> FsResult<usize> {
        self.gate.pass();
        self.tree.read(call, node, at, len, out)
    }

    fn statfs(&self, call: Call) -> FsResult<StatFs> {
        self.tree.statfs(call)
    }

    fn forget(&self, node: NodeId, count: u64) {
        self.tree.forget(node, count);
    }
}

/// The mounted disk.
#[derive(Debug)]
pub struct SlowDisk {
    dir: TempDir,
    gate: Arc<Gate>,
    stop: StopHandle,
    thread: Option<JoinHandle<()>>,
}

impl SlowDisk {
    /// Mounts what is below `root`. As fast as it can be, until the gate says otherwise.
    pub fn mount(root: &Path) -> SlowDisk {
        let dir = tempfile::tempdir().unwrap();
        let gate = Arc::new(Gate::default());
        let options = PlainOptions {
            cache: CachePolicy::Always,
            ..PlainOptions::default()
        };
        let fs = SlowFs {
            tree: PlainTree::new(open_root(root).unwrap(), options).unwrap(),
            gate: Arc::clone(&gate),
        };
        let options = MountOptions {
            threads: THREADS.try_into().unwrap(),
            ..MountOptions::default()
        };
        let mount = Mount::new(dir.path(), &options).unwrap();
        let stop = mount.stop_handle();
        let thread = std::thread::spawn(move || mount.serve(fs).unwrap());
        SlowDisk {
            dir,
            gate,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// What holds the reads up.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.gate.delay(Duration::ZERO);
        self.gate.open();
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
