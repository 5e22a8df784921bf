// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What happens inside, for those who look for a mistake: `RUST_LOG` decides.

/// Logs to standard error from this level on, unless `RUST_LOG` says otherwise.
pub(crate) fn start(level: &str) {
    let _ = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        .format_timestamp_millis()
        .try_init();
}
