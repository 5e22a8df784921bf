// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must be reached, and what the last runs found, as a table in Markdown. With the argument
//! `dax`, what windows bring, for the README.

mod boot;
mod dax;
mod found;
mod guest;
mod process;
mod socket;

use found::Line;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("dax") {
        println!("{}", dax::readme());
        return;
    }
    let mut lines = Vec::new();
    process::lookups(&mut lines);
    process::growth(&mut lines);
    process::reads(&mut lines);
    process::mapping(&mut lines);
    socket::sockets(&mut lines);
    guest::guests(&mut lines);
    socket::scale(&mut lines);
    socket::idle(&mut lines);
    socket::latencies(&mut lines);
    boot::boots(&mut lines);
    dax::windows(&mut lines);
    println!("| what | must reach | measured | |\n| --- | --- | --- | --- |");
    for Line {
        what,
        bar,
        measured,
        met,
    } in lines
    {
        let mark = match met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        println!("| {what} | {bar} | {measured} | {mark} |");
    }
}
