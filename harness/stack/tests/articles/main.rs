//! What the stack would do in the fleets of the two articles, in one with shared LVM, on further networks, and with other transports; and what is
//! said of the layers' daemons.

mod book;
mod daemons;
mod first;
mod fixture;
mod networks;
mod second;
mod shared;
mod transports;

use book::Book;

/// One snapshot for what each fleet does where, and one for the scripts of each layer.
#[test]
fn every_script_stands_once() {
    let mut book = Book::default();
    for (article, tell) in [
        ("first", first::tell as fn(&mut Book)),
        ("second", second::tell),
        ("shared", shared::tell),
        ("transports", transports::tell),
    ] {
        tell(&mut book);
        insta::assert_snapshot!(article, std::mem::take(&mut book.outline));
    }
    book.add_warm();
    for (kind, scripts) in book.show() {
        insta::assert_snapshot!(format!("scripts_{kind}"), scripts);
    }
}
