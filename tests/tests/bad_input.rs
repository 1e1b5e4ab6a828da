//! What a node makes of bad input, from clients, peers, and what lies on its disk: it says what
//! is wrong, loses nothing, and goes on serving everybody else.

mod bad_input {
    mod crowds;
    mod disk;
    mod files;
    mod lines;
    mod messages;
    mod payloads;
    mod regressions;
    mod rights;
    mod rogue;
    mod settings;
    mod strangers;
    mod submissions;
    mod support;
}
