// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a Nix database says of a store, for programs that are not Nix.
//!
//! The database is only ever read, and nothing is made beside it. Paths are written whole, as in
//! the database: `/nix/store/<hash>-<name>`, wherever the store lies.
//!
//! ```no_run
//! # fn main() -> Result<(), nixdb::Error> {
//! use nixdb::Database;
//!
//! let database = Database::new("/nix/var/nix/db/db.sqlite");
//! let hello = "/nix/store/0c5b8vw40d1178xlpddw65q9gf1h2186-hello";
//! for path in database.closure(&[hello])? {
//!     println!("{path}");
//! }
//! // What `nix-store --load-db` reads.
//! let registration = database.registration(&database.closure(&[hello])?)?;
//! # Ok(())
//! # }
//! ```

mod database;
mod error;
mod open;
mod registration;
mod root;

pub use database::Database;
pub use error::Error;
pub use root::GcRoot;
