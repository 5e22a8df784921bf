// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Loads kernel modules.

use std::fs::File;
use std::path::Path;

use rofs_guest::config::MODULES_DIR;
use rustix::io::Errno;

use crate::failure::{Context, Failure};

/// Loads the modules in their order.
pub(crate) fn load(names: &[String]) -> Result<(), Failure> {
    for name in names {
        let path = Path::new(MODULES_DIR).join(name);
        let file = File::open(&path).context(|| format!("opening {}", path.display()))?;
        match rustix::system::finit_module(&file, c"", 0) {
            // Loaded, or built in although the list of the kernel does not say so.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => {
                let release = rustix::system::uname();
                let release = release.release().to_string_lossy();
                return Err(Failure::new(format!(
                    "the kernel does not take the module {name}: {e}; the running kernel is {release}, \
                     and its modules must come from the directory of that release"
                )));
            }
        }
    }
    Ok(())
}
